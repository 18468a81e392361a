"""Command line: `python -m livephoto_core.evaluation score | run | page | table | claims`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from ..motion_intensity import DEFAULT_EDGES
from . import study_commands as study
from .claims import command as claims
from .protocol import read_benchmark
from .score import ClipScore, score_file
from .score_report import scores_table, write_reports
from .videos import PICTURE_SUFFIXES, UnreadableClipError, find_clips

_log = logging.getLogger(__name__)
_COMMANDS = {
    "run": (study.add_run_arguments, study.run, "make a benchmark's videos on a ComfyUI server"),
    "page": (study.add_page_arguments, study.page, "write a page for blind rating"),
    "table": (study.add_table_arguments, study.table, "print the mean ratings of a study"),
    "claims": (claims.add_arguments, claims.run_command, "train and measure the paper's ablations"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns 0, 1 if a clip could not be read or made, 2 on wrong arguments."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    try:
        return given.run(given)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _score(given: argparse.Namespace) -> int:
    clips = find_clips(given.clips)
    references = _references(given.references, clips)
    encoders = _encoders(given)
    edges = _edges(given.checkpoint)
    scores: list[ClipScore] = []
    unreadable: list[str] = []
    for path in tqdm(clips, unit="clip", desc="Scoring"):
        try:
            name, reference = _name(path, given.clips), references.get(path)
            scores.append(score_file(path, encoders, name=name, reference=reference, edges=edges))
        except UnreadableClipError as error:
            unreadable.append(str(error))
    for problem in unreadable:
        _log.error("Left out: %s", problem)
    if not scores:
        raise ValueError(f"clips: not one of {len(clips)} clips in {given.clips} could be read.")
    sys.stdout.write(scores_table(scores) + "\n")
    if given.output:
        written = write_reports(scores, given.output)
        _log.info("Written: %s", ", ".join(map(str, written)))
    return 1 if unreadable else 0


def _encoders(given: argparse.Namespace) -> dict:
    from .frame_encoders import FrameEncoder

    folders = {"clip": given.clip, "dino": given.dino}
    return {
        kind: FrameEncoder(folder, kind, device=given.device)
        for kind, folder in folders.items()
        if folder
    }


def _name(clip: Path, folder: Path) -> str:
    """Where a clip lies in the folder of all: "PIA/humans/h1-1-seed0"."""
    if clip == folder:  # its pictures are the only clip
        return clip.name
    return (clip if clip.is_dir() else clip.with_suffix("")).relative_to(folder).as_posix()


def _references(path: Path | None, clips: list[Path]) -> dict[Path, Path]:
    """The photo of each clip: the picture of the same name, or what the benchmark says."""
    if path is None:
        return {}
    if path.is_file():
        pictures = {sample.name: sample.image for sample in read_benchmark(path)}
        keys = {clip: f"{clip.parent.name}/{clip.stem}" for clip in clips}
    elif path.is_dir():
        pictures = {p.stem: p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES}
        keys = {clip: clip.stem for clip in clips}
    else:
        raise ValueError(f"--references: {path} is not there. Give a folder, or a benchmark.json.")
    missing = [key for key in keys.values() if key not in pictures]
    if missing:
        raise ValueError(
            f"--references: {path} has no picture for {missing[0]} ({len(missing)} of {len(clips)} "
            "clips lack theirs)."
        )
    return {clip: pictures[key] for clip, key in keys.items()}


def _edges(checkpoint: Path | None) -> tuple[float, ...]:
    if checkpoint is None:
        return DEFAULT_EDGES
    from ..checkpoints import read_checkpoint

    return read_checkpoint(checkpoint).config.ssim_edges or DEFAULT_EDGES


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m livephoto_core.evaluation")
    commands = parser.add_subparsers(required=True, metavar="{score,run,page,table,claims}")
    score = commands.add_parser("score", help="measure videos, animations and folders of frames")
    _add_score_arguments(score)
    score.set_defaults(run=_score)
    for name, (add_arguments, function, purpose) in _COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        add_arguments(command)
        command.set_defaults(run=function)
    return parser


def _add_score_arguments(score: argparse.ArgumentParser) -> None:
    score.add_argument("clips", type=Path, help="folder of the clips")
    score.add_argument("--clip", type=Path, metavar="DIR", help="local folder of a CLIP")
    score.add_argument("--dino", type=Path, metavar="DIR", help="local folder of a DINO or DINOv2")
    score.add_argument(
        "--references",
        type=Path,
        metavar="PATH",
        help="photos named like the clips, or the benchmark.json of `run` (default: first frames)",
    )
    score.add_argument("--checkpoint", type=Path, metavar="FILE", help="whose motion levels to use")
    score.add_argument("--output", type=Path, metavar="DIR", help="for CSV, JSON and Markdown")
    score.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)"
    )


if __name__ == "__main__":
    sys.exit(main())
