"""`python -m livephoto_core.evaluation claims`: the paper's claims, measured by one command."""

from __future__ import annotations

import argparse
import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path

from ...shapes.base_model import BASE_MODEL_PATH, open_base_model
from ...shapes.clips import ShapesClips
from ...shapes.evaluation import EvaluationOptions, check_base, checkpoint_facts
from ...shapes.shipped import LIVEPHOTO_PATH
from .report import write_report
from .study import COUNTS, Study, count_option, run
from .variants import ROWS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument(
        "--data", type=Path, required=True, help="clips of `python -m livephoto_core.shapes clips`"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder; may be gone on with")
    parser.add_argument(
        "--start-steps",
        type=int,
        default=Study.start_steps,
        help="of the training of motion modules that all others start from; 0 for none",
    )
    parser.add_argument("--steps", type=int, default=Study.num_steps, help="of each other training")
    parser.add_argument("--clips-per-step", type=int, default=Study.clips_per_step, help="in all")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(Study.seeds), help="of each")
    parser.add_argument(
        "--rows", choices=tuple(ROWS), default="all", help="the paper's tables only, or ours too"
    )
    parser.add_argument("--processes", type=int, default=Study.num_processes, help="of one thread")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default=Study.device, help="that trains"
    )
    for kind, count in COUNTS.items():
        parser.add_argument(count_option(kind), type=int, default=count, help="questions of each")
    parser.add_argument(
        "--sampling-steps", type=int, default=Study.sampling_steps, help="of each answer"
    )
    parser.add_argument("--base", type=Path, default=BASE_MODEL_PATH, help="the tiny base model")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=LIVEPHOTO_PATH,
        help="its levels and its prior are looked at too",
    )
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder (or COMFYUI_PATH)")


def run_command(given: argparse.Namespace) -> int:
    """Trains and measures whatever is missing, then writes tables, plots and pictures.

    Raises:
        ValueError: If an option cannot be used; that is known before any training.
    """
    study = Study(
        data=given.data,
        output=given.output,
        start_steps=given.start_steps,
        num_steps=given.steps,
        clips_per_step=given.clips_per_step,
        seeds=tuple(given.seeds),
        variants=ROWS[given.rows],
        num_processes=given.processes,
        device=given.device,
        counts={kind: getattr(given, kind) for kind in COUNTS},
        sampling_steps=given.sampling_steps,
        base=given.base,
        checkpoint=given.checkpoint,
        comfyui=given.comfyui,
    )
    check_needs(study)
    run(study)
    write_report(study)
    return 0


def check_needs(study: Study) -> None:
    """Opens all that the study will need hours later.

    Raises:
        ValueError: Naming what is missing, or the option whose file cannot be used.
    """
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ValueError("The plots need matplotlib: install the extra `report`.") from error
    from ...comfyui.standalone import use_comfyui

    use_comfyui(study.comfyui)
    from ...comfyui.demo_text import CaptionEncoder

    with _blaming("--base"):
        base = open_base_model(study.base)
    with _blaming("--checkpoint"):
        options = EvaluationOptions(study.base, study.checkpoint, counts={})
        check_base(options)
        checkpoint_facts(options)
    with _blaming("--data"):
        text_encoder = CaptionEncoder(base.config, base.part("text_encoder"))
        ShapesClips(study.data, base, text_encoder, seed=0)


@contextlib.contextmanager
def _blaming(option: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise ValueError(f"{option}: {error}") from error
