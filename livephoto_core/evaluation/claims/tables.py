"""A study's figures as Markdown tables, each with its spread over the seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .study import answers_path
from .variants import Variant

COLUMNS = {
    "motion_accuracy": ("motion, %", 100, 0),
    "conflicting_accuracy": ("motion, conflicting text, %", 100, 0),
    "motion_only_accuracy": ("motion, motion words only, %", 100, 0),
    "without_text_accuracy": ("motion, no text, %", 100, 0),
    "level_correlation": ("level, Spearman", 1, 2),
    "identity": ("shape and colour kept, %", 100, 0),
    "frame_similarity": ("adjacent frames, content encoder, %", 100, 2),
    "first_frame_psnr_db": ("first frame, dB", 1, 1),
}
"""Figure → its heading, factor and decimals."""


@dataclass(frozen=True)
class Spread:
    """One figure over the seeds.

    Args:
        mean: Over the seeds.
        half_range: Half the distance between the largest and the smallest.
    """

    mean: float
    half_range: float

    def show(self, factor: float, decimals: int) -> str:
        """As "62 ± 3"."""
        mean, half = factor * self.mean, factor * self.half_range
        return f"{mean:.{decimals}f} ± {half:.{decimals}f}"


Results = dict[Variant, dict[str, Spread]]


def read_results(output: Path, variants: Sequence[Variant], seeds: Sequence[int]) -> Results:
    """Figures of all variants.

    Args:
        output: Folder of the study.
        variants, seeds: Which.
    Raises:
        ValueError: If the study has not come to one of them yet.
    """
    return {variant: _over_seeds(output, variant, seeds) for variant in variants}


def _over_seeds(output: Path, variant: Variant, seeds: Sequence[int]) -> dict[str, Spread]:
    figures = [_read_figures(answers_path(output, variant, seed)) for seed in seeds]
    return {name: spread([of_seed[name] for of_seed in figures]) for name in COLUMNS}


def spread(values: Sequence[float]) -> Spread:
    """Mean and half range of one or more values."""
    return Spread(statistics.fmean(values), (max(values) - min(values)) / 2)


def _read_figures(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"output: {path.name} is not there yet. Let the study finish.")
    return json.loads(path.read_text())["figures"]


def markdown_table(results: Results) -> str:
    """One row for each variant, one column for each figure."""
    headings = ["variant", *(heading for heading, _, _ in COLUMNS.values())]
    rows = [
        [
            variant.name,
            *(
                figures[name].show(factor, decimals)
                for name, (_, factor, decimals) in COLUMNS.items()
            ),
        ]
        for variant, figures in results.items()
    ]
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
