"""The study's plots as PNG files; needs matplotlib (the extra `report`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...shapes.benchmark import Answer
from .sweeps import LEVELS
from .tables import COLUMNS, Results


def plot_variants(results: Results, path: Path) -> None:
    """A panel for each figure, a bar for each variant, the range over the seeds as a line."""
    figure, axes = _panels(len(COLUMNS), columns=4)
    names = [variant.name for variant in results]
    for axis, (key, (heading, factor, _)) in zip(axes, COLUMNS.items(), strict=False):
        values = [figures[key] for figures in results.values()]
        heights = [factor * value.mean for value in values]
        ranges = [factor * value.half_range for value in values]
        axis.barh(names, heights, xerr=ranges, color="#7aa6d8", ecolor="#222222")
        axis.invert_yaxis()
        axis.set_title(heading, fontsize=9)
    _save(figure, path)


def plot_prior(figures: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Each figure over the factor of the paper's α."""
    shown = {name: COLUMNS[name] for name in COLUMNS if all(name in of for of in figures.values())}
    figure, axes = _panels(len(shown), columns=4)
    for axis, (key, (heading, factor, _)) in zip(axes, shown.items(), strict=False):
        axis.plot(list(figures), [factor * of[key] for of in figures.values()], marker="o")
        axis.set_title(heading, fontsize=9)
        axis.set_xlabel("α, multiples of the paper's")
    _save(figure, path)


def plot_levels(answers: Sequence[Answer], path: Path) -> None:
    """Measured level over requested level: every prompt a thin line, the mean a thick one."""
    figure, [axis] = _panels(1, columns=1)
    num_levels = len(LEVELS)
    prompts = [answers[first : first + num_levels] for first in range(0, len(answers), num_levels)]
    for prompt in prompts:
        axis.plot(LEVELS, [answer.level for answer in prompt], color="#bbbbbb", linewidth=0.7)
    means = [sum(prompt[i].level for prompt in prompts) / len(prompts) for i in range(num_levels)]
    axis.plot(LEVELS, means, color="#1f4e8c", marker="o")
    axis.set_xlabel("requested level")
    axis.set_ylabel("measured level")
    _save(figure, path)


def _panels(count: int, *, columns: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    rows = -(-count // columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=False).ravel().tolist()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
