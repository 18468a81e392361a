"""A study's figures: over the seeds, and against each other with the noise of the questions."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...shapes.benchmark import Answer, Kind, level_correlation, score
from .study import answers_path
from .variants import Variant

_NUM_RESAMPLES = 4000


Statistic = Callable[[Sequence[Answer], np.ndarray], np.ndarray]
"""A figure of answers, drawn again and again: answers and their numbers (r n) → (r,)."""


@dataclass(frozen=True)
class Column:
    """How a figure of `benchmark.score` is shown.

    Args:
        heading: With its unit.
        factor: From the figure to that unit.
        decimals: To show.
        kinds, statistic: The figure of drawn answers, and of which kinds these are; `None` for one
            that has no interval.
    """

    heading: str
    factor: float = 100
    decimals: int = 0
    kinds: tuple[Kind, ...] = ()
    statistic: Statistic | None = None


def _mean_of(value: Callable[[Answer], float]) -> Statistic:
    def statistic(answers: Sequence[Answer], drawn: np.ndarray) -> np.ndarray:
        return np.array([value(answer) for answer in answers])[drawn].mean(axis=1)

    return statistic


def _level_correlation(answers: Sequence[Answer], drawn: np.ndarray) -> np.ndarray:
    return np.array([level_correlation([answers[index] for index in row]) for row in drawn])


_follows = _mean_of(lambda answer: float(answer.motion == answer.asked_motion))
_identity = _mean_of(lambda answer: float(answer.keeps_identity))
_first_frame = _mean_of(lambda answer: answer.first_frame_psnr_db)
_TOLD: tuple[Kind, ...] = ("motion", "level")

COLUMNS = {
    "motion_accuracy": Column("motion, %", kinds=("motion",), statistic=_follows),
    "worst_motion_accuracy": Column("worst kind of motion, %"),
    "conflicting_accuracy": Column(
        "motion, conflicting text, %", kinds=("conflicting",), statistic=_follows
    ),
    "motion_only_accuracy": Column(
        "motion, motion words only, %", kinds=("motion_only",), statistic=_follows
    ),
    "without_text_accuracy": Column(
        "motion, no text, %", kinds=("without_text",), statistic=_follows
    ),
    "level_correlation": Column(
        "level, Spearman", 1, 2, kinds=("level",), statistic=_level_correlation
    ),
    "level_motion_accuracy": Column("motion at any level, %", kinds=("level",), statistic=_follows),
    "identity": Column("shape and colour kept, %", kinds=_TOLD, statistic=_identity),
    "shape_kept": Column(
        "shape kept, %", kinds=_TOLD, statistic=_mean_of(lambda a: float(a.keeps_shape))
    ),
    "conflicting_identity": Column(
        "shape and colour kept, conflicting text, %", kinds=("conflicting",), statistic=_identity
    ),
    "first_frame_psnr_db": Column("first frame, dB", 1, 1, kinds=_TOLD, statistic=_first_frame),
    "conflicting_first_frame_psnr_db": Column(
        "first frame, conflicting text, dB", 1, 1, kinds=("conflicting",), statistic=_first_frame
    ),
    "frame_similarity": Column(
        "adjacent frames, %", 100, 2, kinds=_TOLD, statistic=_mean_of(lambda a: a.frame_similarity)
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
        interval: 95 % of it over the questions; `None` for a figure without a statistic.
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
    answers = [Answer(**row) for row in json.loads(path.read_text())["answers"]]
    return Outcome(dict(score(answers)), answers)


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
    return Difference(
        statistics.fmean(per_seed),
        _bootstrap_interval(outcomes, of, COLUMNS[name]),
        seeds_agree=min(per_seed) > 0 or max(per_seed) < 0,
    )


def _bootstrap_interval(
    outcomes: Sequence[Outcome], of: Sequence[Outcome], column: Column
) -> tuple[float, float] | None:
    """95 % of the differences, mean over the seeds, between answers to drawn questions.

    The same questions are drawn for all seeds: answers of two seeds to one question are no two
    questions.
    """
    pairs = [[_answers(outcome, column) for outcome in pair] for pair in _pairs(outcomes, of)]
    count = len(pairs[0][0])
    if column.statistic is None or not count:
        return None
    drawn = np.random.default_rng(0).integers(count, size=(_NUM_RESAMPLES, count))
    of_each = [
        column.statistic(one, drawn) - column.statistic(other, drawn) for one, other in pairs
    ]
    low, high = np.nanpercentile(np.mean(of_each, axis=0), (2.5, 97.5))
    return float(low), float(high)


def _pairs(outcomes: Sequence[Outcome], of: Sequence[Outcome]) -> Iterator[tuple[Outcome, Outcome]]:
    return zip(outcomes, of, strict=True)


def _answers(outcome: Outcome, column: Column) -> list[Answer]:
    return [answer for answer in outcome.answers if answer.kind in column.kinds]
