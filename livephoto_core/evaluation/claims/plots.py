"""The study's plots as PNG files; needs matplotlib (the extra `report`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...models.text_reweighting import INITIAL_WEIGHT
from ...shapes.benchmark import Answer
from ...shapes.captions import WordKind
from .results import COLUMNS, Results, spread
from .sweeps import LEVELS
from .words import KINDS

_COLOURS = ("#7aa6d8", "#e0a458", "#9a9a9a")


def plot_variants(results: Results, path: Path, *, true_similarity: float) -> None:
    """A panel for each measured figure, a bar for each variant, the seeds' range as a line.

    The similarity of adjacent frames rewards stillness, and hardly differs: its axis shows only
    where the values lie, with that of the true clips as a dashed line.

    Args:
        results: Of all variants.
        path: PNG file.
        true_similarity: Of adjacent frames of true clips.
    """
    shown = {
        name: bars
        for name in COLUMNS
        if (bars := {v.name: of for v, found in results.items() if (of := spread(found, name))})
    }
    figure, axes = _panels(len(shown), columns=3)
    for axis, (name, bars) in zip(axes, shown.items(), strict=True):
        column = COLUMNS[name]
        means = [column.factor * of.mean for of in bars.values()]
        lowest = [column.factor * of.lowest for of in bars.values()]
        highest = [column.factor * of.highest for of in bars.values()]
        axis.barh(list(bars), means, color=_COLOURS[0])
        axis.hlines(list(bars), lowest, highest, color="#222222")
        axis.invert_yaxis()
        axis.tick_params(axis="y", labelsize=7)
        axis.set_title(column.heading, fontsize=9)
        if not any(highest):  # or 0 would stand in the middle
            axis.set_xlim(0, column.factor)
        if name == "frame_similarity":
            _zoom(axis, [*means, column.factor * true_similarity])
    _save(figure, path)


def plot_prior(sweeps: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """Each figure over the factor of the paper's α, a line for each checkpoint."""
    measured = [figures for sweep in sweeps.values() for figures in sweep.values()]
    shown = {name: COLUMNS[name] for name in COLUMNS if all(name in of for of in measured)}
    figure, axes = _panels(len(shown), columns=4)
    for axis, (key, column) in zip(axes, shown.items(), strict=True):
        for name, sweep in sweeps.items():
            values = [column.factor * figures[key] for figures in sweep.values()]
            axis.plot(list(sweep), values, marker="o", label=name)
        axis.set_title(column.heading, fontsize=9)
        axis.set_xlabel("α, multiples of the paper's")
        axis.legend()
    _save(figure, path)


def plot_levels(sweeps: Mapping[str, Sequence[Answer]], path: Path) -> None:
    """Measured level over requested level: every prompt a thin line, the mean a thick one.

    Args:
        sweeps: Each prompt at all levels in turn, by the checkpoint's name.
        path: PNG file.
    """
    figure, axes = _panels(len(sweeps), columns=len(sweeps))
    count = len(LEVELS)
    for axis, (name, answers) in zip(axes, sweeps.items(), strict=True):
        prompts = [answers[first : first + count] for first in range(0, len(answers), count)]
        for prompt in prompts:
            axis.plot(LEVELS, [answer.level for answer in prompt], color="#bbbbbb", linewidth=0.7)
        means = [sum(prompt[i].level for prompt in prompts) / len(prompts) for i in range(count)]
        axis.plot(LEVELS, means, color="#1f4e8c", marker="o")
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("requested level")
        axis.set_ylabel("measured level")
    _save(figure, path)


def plot_words(means: Mapping[str, Mapping[WordKind, float]], path: Path) -> None:
    """Mean weight of each kind of word by each checkpoint; dashed what all words start with."""
    figure, [axis] = _panels(1, columns=1)
    width = 0.8 / len(KINDS)
    for place, kind in enumerate(KINDS):
        positions = [number + (place - 1) * width for number in range(len(means))]
        heights = [of[kind] for of in means.values()]
        axis.bar(positions, heights, width, label=kind, color=_COLOURS[place])
    axis.axhline(INITIAL_WEIGHT, color="#222222", linestyle="--", label="untrained")
    axis.set_xticks(range(len(means)), list(means), fontsize=7)
    axis.set_ylabel("weight, mean over frames")
    axis.legend(fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    _save(figure, path)


def _zoom(axis: Any, values: Sequence[float]) -> None:
    """Shows where the values lie, the last of them as a dashed line."""
    margin = 0.2 * (max(values) - min(values)) or 0.1
    axis.set_xlim(min(values) - margin, max(values) + margin)
    axis.axvline(values[-1], color="#222222", linestyle="--")


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
