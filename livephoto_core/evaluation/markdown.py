"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, has_numbers: bool = False
) -> str:
    """Cells as Markdown takes them.

    Args:
        headings: One per column.
        rows: As many cells each.
        has_numbers: Whether all columns but the first are set to the right.
    """
    rules = ["---", *["---:" if has_numbers else "---"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rules, *rows))
