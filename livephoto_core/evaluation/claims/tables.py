"""A study's results as Markdown tables, in the form of the paper's tables 1 and 2."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

from ...shapes.scene import MOTIONS
from ..markdown import markdown_table
from .results import COLUMNS, Column, Difference, Outcome, Results, Spread, difference, spread
from .variants import FULL, OURS, TABLE_1, TABLE_2, Variant

DASH = "–"

_TABLES = {
    "Table 1: image content guidance": (TABLE_1, tuple(pairwise(TABLE_1))),
    "Table 2: motion control": (TABLE_2, tuple((FULL, row) for row in TABLE_2[1:])),
    "Ours": ((FULL, *OURS), tuple((FULL, row) for row in OURS)),
}
"""Rows, and which are compared: the second of a pair against the first."""

_NOTE = """\
Figures are means over the seeds, in brackets the seeds' range. A difference is the mean over the
seeds with the 95 % interval of a bootstrap over the questions, which are the same for all rows;
"yes" if the interval excludes 0 and all seeds have the same sign. It knows the noise of the
questions, and of the trainings only that sign. Where there is no effect, up to one comparison in
twenty says "yes" all the same, and there are dozens. Adjacent frames are compared by the content
encoder, which rewards stillness. The paper's numbers are of another world and another scale (real
videos, DINO and CLIP): only the order of rows compares."""


def study_tables(results: Results) -> str:
    """The tables of all variants that were measured.

    Args:
        results: With `FULL` among them.
    """
    blocks = [_NOTE]
    for heading, (rows, pairs) in _TABLES.items():
        variants = [variant for variant in rows if variant in results]
        if variants == [FULL] and len(blocks) > 1:  # it stands in a table above
            continue
        blocks += [f"## {heading}", _figures_table(results, variants)]
        measured = [pair for pair in pairs if set(pair) <= set(results)]
        if measured:
            blocks += ["Differences:", _differences_table(results, measured)]
    return "\n\n".join([*blocks, "## Motion accuracy by kind, %", motions_table(results)])


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
    rows = [
        [column.heading, *(_show(spread(results[variant], name), column) for variant in variants)]
        for name, column in COLUMNS.items()
    ]
    published = [
        " / ".join(f"{score:.1f}" for score in variant.published or ()) or DASH
        for variant in variants
    ]
    rows.append(["the paper: adjacent frames, DINO / CLIP, %", *published])
    return markdown_table(["figure", *(variant.name for variant in variants)], rows)


def _differences_table(results: Results, pairs: Sequence[tuple[Variant, Variant]]) -> str:
    rows = [
        [
            column.heading,
            *(
                _show_difference(difference(results[variant], results[other], name), column)
                for other, variant in pairs
            ),
        ]
        for name, column in COLUMNS.items()
    ]
    headings = [f"{variant.name}, against {other.name}" for other, variant in pairs]
    return markdown_table(["figure", *headings], rows)


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
