"""A study's figures: over the seeds, and against each other with the noise of the questions."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...shapes.benchmark import Answer, Kind
from .study import answers_path
from .variants import Variant

_NUM_RESAMPLES = 4000


@dataclass(frozen=True)
class Column:
    """How a figure of `benchmark.score` is shown.

    Args:
        heading: With its unit.
        factor: From the figure to that unit.
        decimals: To show.
        kinds, value: For a mean over answers: over those of which kinds, and of what of each.
    """

    heading: str
    factor: float = 100
    decimals: int = 0
    kinds: tuple[Kind, ...] = ()
    value: Callable[[Answer], float] | None = None


def _follows(answer: Answer) -> float:
    return float(answer.motion == answer.asked_motion)


def _keeps_identity(answer: Answer) -> float:
    return float(answer.keeps_identity)


_TOLD: tuple[Kind, ...] = ("motion", "level")

COLUMNS = {
    "motion_accuracy": Column("motion, %", kinds=("motion",), value=_follows),
    "worst_motion_accuracy": Column("worst kind of motion, %"),
    "conflicting_accuracy": Column(
        "motion, conflicting text, %", kinds=("conflicting",), value=_follows
    ),
    "motion_only_accuracy": Column(
        "motion, motion words only, %", kinds=("motion_only",), value=_follows
    ),
    "without_text_accuracy": Column("motion, no text, %", kinds=("without_text",), value=_follows),
    "level_correlation": Column("level, Spearman", factor=1, decimals=2),
    "level_motion_accuracy": Column("motion at any level, %", kinds=("level",), value=_follows),
    "identity": Column("shape and colour kept, %", kinds=_TOLD, value=_keeps_identity),
    "shape_kept": Column("shape kept, %", kinds=_TOLD, value=lambda a: float(a.keeps_shape)),
    "conflicting_identity": Column(
        "shape and colour kept, conflicting text, %", kinds=("conflicting",), value=_keeps_identity
    ),
    "first_frame_psnr_db": Column(
        "first frame, dB", 1, 1, kinds=_TOLD, value=lambda a: a.first_frame_psnr_db
    ),
    "frame_similarity": Column(
        "adjacent frames, %", decimals=2, kinds=_TOLD, value=lambda a: a.frame_similarity
    ),
}
"""By the figure's name."""


@dataclass(frozen=True)
class Outcome:
    """A variant with one seed.

    Args:
        figures: Of `benchmark.score`.
        answers: What they were made from, in the order of the questions.
    """

    figures: dict[str, Any]
    answers: list[Answer]


Results = dict[Variant, list[Outcome]]
"""Of every variant the outcome of each seed."""


@dataclass(frozen=True)
class Spread:
    """One figure over the seeds."""

    mean: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Difference:
    """One figure of a variant less that of another, mean over the seeds.

    Args:
        mean: The difference.
        interval: 95 % of it over the questions; `None` for a figure that is no mean over answers.
        seeds_agree: Whether it has the same sign with every seed.
    """

    mean: float
    interval: tuple[float, float] | None
    seeds_agree: bool

    @property
    def is_clear(self) -> bool:
        """Whether there is an interval, 0 is outside, and all seeds say so."""
        if self.interval is None or not self.seeds_agree:
            return False
        return not self.interval[0] <= 0 <= self.interval[1]


def read_results(output: Path, variants: Sequence[Variant], seeds: Sequence[int]) -> Results:
    """Outcomes of all variants.

    Args:
        output: Folder of the study.
        variants, seeds: Which.
    Raises:
        ValueError: If the study has not come to one of them yet.
    """
    return {
        variant: [_read_outcome(answers_path(output, variant, seed)) for seed in seeds]
        for variant in variants
    }


def _read_outcome(path: Path) -> Outcome:
    if not path.is_file():
        raise ValueError(f"output: {path.name} is not there yet. Let the study finish.")
    content = json.loads(path.read_text())
    return Outcome(content["figures"], [Answer(**row) for row in content["answers"]])


def spread(outcomes: Sequence[Outcome], name: str) -> Spread | None:
    """A figure over the seeds; `None` if it was not measured."""
    values = [outcome.figures[name] for outcome in outcomes if name in outcome.figures]
    return Spread(statistics.fmean(values), min(values), max(values)) if values else None


def difference(outcomes: Sequence[Outcome], of: Sequence[Outcome], name: str) -> Difference | None:
    """A variant's figure less that of another; `None` if it was not measured.

    Args:
        outcomes, of: The variant and the other, of the same seeds and questions.
        name: Of the figure.
    """
    pairs = [
        (one.figures.get(name), other.figures.get(name)) for one, other in _pairs(outcomes, of)
    ]
    per_seed = [one - other for one, other in pairs if one is not None and other is not None]
    if not per_seed or len(per_seed) < len(pairs):
        return None
    column = COLUMNS[name]
    per_question = np.mean(
        [_values(one, column) - _values(other, column) for one, other in _pairs(outcomes, of)],
        axis=0,
    )
    return Difference(
        statistics.fmean(per_seed),
        bootstrap_interval(per_question) if len(per_question) else None,
        seeds_agree=min(per_seed) > 0 or max(per_seed) < 0,
    )


def _pairs(outcomes: Sequence[Outcome], of: Sequence[Outcome]) -> Iterator[tuple[Outcome, Outcome]]:
    return zip(outcomes, of, strict=True)


def _values(outcome: Outcome, column: Column) -> np.ndarray:
    """Of every answer."""
    if column.value is None:
        return np.empty(0)
    return np.array([column.value(a) for a in outcome.answers if a.kind in column.kinds])


def bootstrap_interval(differences: np.ndarray) -> tuple[float, float]:
    """Where 95 % of the means of resampled differences lie.

    Args:
        differences: One for every question, between answers to it, mean over the seeds: answers of
            two seeds to one question are no two questions.
    """
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(differences), size=(_NUM_RESAMPLES, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), (2.5, 97.5))
    return float(low), float(high)
