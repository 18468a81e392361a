"""Command line: `python -m livephoto_core.shapes clips`, `… evaluate`, `… ceiling`, `… export`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from .base_model import BASE_MODEL_PATH
from .evaluation import ENOUGH, EvaluationOptions, answer_with_true_clips, evaluate
from .scene import MOTIONS
from .shipped import LIVEPHOTO_PATH


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns 0, or 2 if its arguments or files are wrong."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    try:
        given.run(given)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _make_clips(given: argparse.Namespace) -> None:
    from ..comfyui.standalone import use_comfyui

    use_comfyui(given.comfyui, device=given.device)
    # ComfyUI sets itself up when it is imported: only now.
    from ..comfyui.demo_modules import load_autoencoder
    from .base_model import open_base_model
    from .clips import encode_clips

    file = open_base_model(given.base)
    encode_clips(
        load_autoencoder(file).to(given.device),
        file.config,
        given.output,
        num_clips=given.num_clips,
        seed=given.seed,
        favoured=given.favour,
        num_workers=given.num_workers,
    )


def _evaluate(given: argparse.Namespace) -> None:
    from .benchmark import score
    from .export import write_evaluation

    options = EvaluationOptions(
        base=given.base,
        livephoto=given.livephoto,
        counts={kind: getattr(given, kind) for kind in ENOUGH},
        num_steps=given.steps,
        cfg=given.cfg,
        sampler=given.sampler,
        prior=given.prior and tuple(given.prior),
        seed=given.seed,
        num_processes=given.processes,
        comfyui=given.comfyui,
        bf16=given.bf16,
    )
    answers = evaluate(options)
    _show(score(answers))
    if given.output:
        write_evaluation(given.output, options, answers)


def _measure_ceiling(given: argparse.Namespace) -> None:
    from .benchmark import score

    options = EvaluationOptions(
        base=given.base,
        livephoto=given.livephoto,
        counts={"motion": given.motion},
        seed=given.seed,
        comfyui=given.comfyui,
    )
    _show(score(answer_with_true_clips(options, noise=given.noise)))


def _export(given: argparse.Namespace) -> None:
    from .export import export_livephoto

    export_livephoto(given.training, given.checkpoint, given.evaluation, given.output)


def _show(figures: dict[str, Any], indent: str = "") -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            sys.stdout.write(f"{indent}{name}:\n")
            _show(value, indent + "  ")
        else:
            sys.stdout.write(f"{indent}{name}: {value:.3f}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m livephoto_core.shapes")
    commands = parser.add_subparsers(required=True, metavar="{clips,evaluate,ceiling,export}")
    clips = _add_command(
        commands,
        "clips",
        "render and encode clips for `python -m livephoto_core.training train --preset shapes`",
    )
    clips.add_argument("--output", type=Path, required=True, help="folder of the clips")
    clips.add_argument("--num-clips", type=int, default=20_000, help="how many")
    clips.add_argument("--seed", type=int, default=1, help="of the stream")
    clips.add_argument(
        "--favour",
        nargs="+",
        default=[],
        choices=MOTIONS,
        metavar="MOTION",
        help="draw these motions more often: once more for each time they are named",
    )
    clips.add_argument("--num-workers", type=int, default=1, help="processes that render")
    clips.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="that encodes")
    clips.set_defaults(run=_make_clips)
    _add_evaluation(commands)
    ceiling = _add_command(
        commands, "ceiling", "measure true clips that only went through the autoencoder"
    )
    ceiling.add_argument("--livephoto", type=Path, default=LIVEPHOTO_PATH, help="whose levels")
    ceiling.add_argument("--motion", type=int, default=ENOUGH["motion"], help="clips")
    ceiling.add_argument(
        "--noise", type=float, default=0.0, help="on the latents, in their deviations"
    )
    ceiling.add_argument("--seed", type=int, default=0, help="of scenes and noise")
    ceiling.set_defaults(run=_measure_ceiling)
    export = commands.add_parser("export", help="write a trained checkpoint as the pack ships it")
    for name, purpose in (
        ("training", "folder of the training"),
        ("checkpoint", "one of its checkpoints"),
        ("evaluation", "what `evaluate --output` wrote about that checkpoint"),
    ):
        export.add_argument(f"--{name}", type=Path, required=True, help=purpose)
    export.add_argument("--output", type=Path, default=LIVEPHOTO_PATH, help="file to write")
    export.set_defaults(run=_export)
    return parser


def _add_evaluation(commands: Any) -> None:
    evaluation = _add_command(
        commands, "evaluate", "measure a checkpoint on combinations that training never saw"
    )
    evaluation.add_argument("--livephoto", type=Path, default=LIVEPHOTO_PATH, help="checkpoint")
    for kind, count in ENOUGH.items():
        flag = f"--{kind.replace('_', '-')}"
        evaluation.add_argument(flag, type=int, default=count, help="clips of this kind")
    evaluation.add_argument(
        "--steps", type=int, default=EvaluationOptions.num_steps, help="of each"
    )
    evaluation.add_argument("--cfg", type=float, default=EvaluationOptions.cfg, help="guidance")
    evaluation.add_argument(
        "--sampler", default=EvaluationOptions.sampler, help="as in the node LivePhoto Sampler"
    )
    evaluation.add_argument(
        "--prior", type=float, nargs=2, metavar="ALPHA", help="prior inversion, as 0.033 0.016"
    )
    evaluation.add_argument("--seed", type=int, default=0, help="of scenes and noise")
    evaluation.add_argument("--processes", type=int, default=2, help="of one thread each")
    evaluation.add_argument(
        "--bf16", action="store_true", help="compute in bf16: faster where the CPU knows it"
    )
    evaluation.add_argument("--output", type=Path, help="JSON of figures and all answers")
    evaluation.set_defaults(run=_evaluate)


def _add_command(commands: Any, name: str, purpose: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=purpose,
        description=purpose,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.add_argument("--base", type=Path, default=BASE_MODEL_PATH, help="the tiny base model")
    command.add_argument("--comfyui", type=Path, help="ComfyUI's folder (or COMFYUI_PATH)")
    return command


if __name__ == "__main__":
    sys.exit(main())
