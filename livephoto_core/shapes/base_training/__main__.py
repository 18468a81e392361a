"""Command line: `python -m livephoto_core.shapes.base_training STEP --run FOLDER`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

from ..base_model import BASE_MODEL_PATH, open_base_model
from .loop import LoopOptions
from .options import NUM_PICTURES, PRESETS, TextToImageOptions

_EPILOG = """The steps in their order: autoencoder, decoder, content-encoder, text-to-image,
export. Each continues what was interrupted. Options are explained in loop.py and
options.py."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one step.

    Returns:
        0, or 2 if the options or the folder are wrong.
    """
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    try:
        _run(given)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _run(given: argparse.Namespace) -> None:
    from ...comfyui.standalone import use_comfyui

    use_comfyui(given.comfyui, device=getattr(given, "device", "cpu"))
    # ComfyUI sets itself up when it is imported: only now.
    from . import stages

    config = stages.world_config()
    start = open_base_model(given.start) if given.start else None
    if given.step == "export":
        stages.export(config, given.run, given.output, start=start)
        return
    options = _dataclass_from(LoopOptions, given)
    if given.step == "autoencoder":
        result = stages.train_autoencoder(config, options, given.run, start=start)
    elif given.step == "decoder":
        result = stages.train_decoder(config, options, given.run, start=start)
    elif given.step == "content-encoder":
        result = stages.train_content_encoder(config, options, given.run, start=start)
    else:
        result = stages.train_text_to_image(
            config,
            options,
            given.run,
            num_pictures=given.num_pictures,
            extra=_dataclass_from(TextToImageOptions, given),
            start=start,
        )
    logging.getLogger(__name__).info("%s", result["figures"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m livephoto_core.shapes.base_training",
        description="Trains the tiny base model of the shapes world.",
        epilog=_EPILOG,
    )
    steps = parser.add_subparsers(dest="step", required=True)
    for name, preset in PRESETS.items():
        step = steps.add_parser(
            name.replace("_", "-"), formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        _add_common(step)
        for option, value in vars(preset).items():
            _add_option(step, option, value)
        if name == "text_to_image":
            _add_option(step, "num_pictures", NUM_PICTURES)
            for option, value in vars(TextToImageOptions()).items():
                _add_option(step, option, value)
    export = steps.add_parser("export")
    _add_common(export)
    export.add_argument("--output", type=Path, default=BASE_MODEL_PATH, help="file to write")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of the whole training")
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder (default: COMFYUI_PATH)")
    parser.add_argument("--start", type=Path, help="base model's file to train on from")


def _add_option(parser: argparse.ArgumentParser, name: str, value: Any) -> None:
    flag = f"--{name.replace('_', '-')}"
    parser.add_argument(flag, type=type(value), default=value, help=name.replace("_", " "))


def _dataclass_from(kind: Any, given: argparse.Namespace) -> Any:
    return kind(**{field.name: getattr(given, field.name) for field in dataclasses.fields(kind)})


if __name__ == "__main__":
    sys.exit(main())
