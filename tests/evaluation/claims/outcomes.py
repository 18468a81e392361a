"""Outcomes of a study that nobody made."""

from __future__ import annotations

import json
from pathlib import Path

from livephoto_core.evaluation.claims.results import COLUMNS, Outcome
from livephoto_core.evaluation.claims.study import answers_path
from livephoto_core.evaluation.claims.variants import Variant
from livephoto_core.shapes.benchmark import as_rows


def outcome(value: float, **changes) -> Outcome:
    """All figures the same, without answers."""
    return Outcome({**dict.fromkeys(COLUMNS, value), **changes}, [])


def write_outcome(folder: Path, variant: Variant, seed: int, *, answers=()) -> None:
    answers_path(folder, variant, seed).write_text(json.dumps({"answers": as_rows(answers)}))
