"""Answers and outcomes of a study that nobody made."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from livephoto_core.evaluation.claims.results import COLUMNS, Outcome
from livephoto_core.evaluation.claims.study import answers_path
from livephoto_core.evaluation.claims.variants import Variant
from livephoto_core.shapes.benchmark import Answer, as_rows

ANSWER = Answer(
    kind="motion",
    asked_motion="wave",
    asked_level=5,
    motion="wave",
    level=5,
    ssim=0.9,
    first_frame_psnr_db=30.0,
    keeps_shape=True,
    keeps_colour=True,
    frame_similarity=0.9,
)


def answer(**changes) -> Answer:
    return dataclasses.replace(ANSWER, **changes)


def outcome(value: float, **changes) -> Outcome:
    """All figures the same, without answers."""
    return Outcome({**dict.fromkeys(COLUMNS, value), **changes}, [])


def write_outcome(folder: Path, variant: Variant, seed: int, *, answers=(), **changes) -> None:
    content = {"figures": outcome(0.5, **changes).figures, "answers": as_rows(answers)}
    answers_path(folder, variant, seed).write_text(json.dumps(content))
