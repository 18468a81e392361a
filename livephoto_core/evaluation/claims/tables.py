"""A study's results as Markdown tables, in the form of the paper's tables 1 and 2."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from ...shapes.scene import MOTIONS
from .results import COLUMNS, Column, Difference, Outcome, Results, Spread, difference, spread
from .variants import FULL, OURS, TABLE_1, TABLE_2, Variant

DASH = "–"

_TABLES = {
    "Table 1: image content guidance": TABLE_1,
    "Table 2: motion control": TABLE_2,
    "Ours": (FULL, *OURS),
}
_NOTE = """\
Figures are means over the seeds, in brackets the seeds' range. Differences are against full, with
the 95 % interval of a paired bootstrap over questions and seeds, and whether it excludes 0; it
knows the noise of the questions, and that of the trainings only as far as the seeds show it.
Adjacent frames are compared by the content encoder, which rewards stillness. The paper's numbers
are of another world and another scale (real videos, DINO and CLIP): only the order of rows
compares."""


def study_tables(results: Results) -> str:
    """The tables of all variants that were measured.

    Args:
        results: With `FULL` among them.
    """
    blocks = [_NOTE]
    for heading, rows in _TABLES.items():
        variants = [variant for variant in rows if variant in results]
        if variants == [FULL] and len(blocks) > 1:  # it stands in a table above
            continue
        blocks += [f"## {heading}", _figures_table(results, variants)]
        if len(variants) > 1:
            blocks += ["Differences against full:", _differences_table(results, variants)]
    return "\n\n".join([*blocks, "## Motion accuracy by kind, %", motions_table(results)])


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells as Markdown takes them."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def motions_table(results: Results) -> str:
    """A row for each motion, a column for each variant."""
    rows = [
        [motion, *(_motion_accuracy(outcomes, motion) for outcomes in results.values())]
        for motion in MOTIONS
    ]
    return markdown_table(["motion", *(variant.name for variant in results)], rows)


def _motion_accuracy(outcomes: Sequence[Outcome], motion: str) -> str:
    found = [outcome.figures.get("motion_accuracy_of", {}).get(motion) for outcome in outcomes]
    values = [100 * value for value in found if value is not None]
    return f"{statistics.fmean(values):.0f}" if values else DASH


def _figures_table(results: Results, variants: Sequence[Variant]) -> str:
    headings = ["variant", *(column.heading for column in COLUMNS.values())]
    rows = [
        [
            variant.name,
            *(_show(spread(results[variant], name), column) for name, column in COLUMNS.items()),
            " / ".join(f"{score:.1f}" for score in variant.published or ()) or DASH,
        ]
        for variant in variants
    ]
    return markdown_table([*headings, "the paper: adjacent frames, DINO / CLIP, %"], rows)


def _differences_table(results: Results, variants: Sequence[Variant]) -> str:
    headings = ["variant", *(column.heading for column in COLUMNS.values())]
    rows = [
        [
            variant.name,
            *(
                _show_difference(difference(results[variant], results[FULL], name), column)
                for name, column in COLUMNS.items()
            ),
        ]
        for variant in variants
        if variant is not FULL
    ]
    return markdown_table(headings, rows)


def _show(value: Spread | None, column: Column) -> str:
    """As "62 (59 to 65)"."""
    if value is None:
        return DASH
    mean, lowest, highest = (
        f"{column.factor * number:.{column.decimals}f}"
        for number in (value.mean, value.lowest, value.highest)
    )
    return f"{mean} ({lowest} to {highest})"


def _show_difference(value: Difference | None, column: Column) -> str:
    """As "-12 (-18 to -6), yes"."""
    if value is None:
        return DASH
    mean = f"{column.factor * value.mean:+.{column.decimals}f}"
    if value.interval is None:
        return mean
    low, high = (f"{column.factor * end:+.{column.decimals}f}" for end in value.interval)
    return f"{mean} ({low} to {high}), {'yes' if value.is_clear else 'no'}"
