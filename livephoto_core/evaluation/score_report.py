"""Scores as CSV, JSON and a Markdown table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

from .markdown import markdown_table
from .score import ClipScore

_NAMES = {"clip": "CLIP", "dino": "DINO"}


def write_reports(scores: Sequence[ClipScore], folder: Path) -> list[Path]:
    """Writes `scores.csv`, `scores.json` (with every frame) and `scores.md`.

    Args:
        scores: At least one.
        folder: Made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "scores.csv": _as_csv(scores),
        "scores.json": json.dumps([dataclasses.asdict(score) for score in scores], indent=1),
        "scores.md": scores_table(scores) + "\n",
    }
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in contents]


def scores_table(scores: Sequence[ClipScore]) -> str:
    """One row a clip, similarities in percent as in LivePhoto's tables, and the means.

    Clips of several folders, such as those of several methods, have a mean for each folder.
    """
    rows = [_row(score) for score in scores]
    header = list(rows[0])
    lines = [[_format(row[name]) for name in header] for row in rows]
    for group, of in _groups(rows).items():
        if len(of) > 1:
            means = [sum(float(row[name]) for row in of) / len(of) for name in header[1:]]
            lines.append([f"**mean{group and ' of '}{group}**", *map(_format, means)])
    return markdown_table(header, lines, has_numbers=True)


def _groups(rows: Sequence[dict[str, float | str]]) -> dict[str, list[dict[str, float | str]]]:
    """Rows by the first folder of their clip; all of them under "" if there is but one."""
    groups: dict[str, list[dict[str, float | str]]] = {}
    for row in rows:
        folder, slash, _ = str(row["clip"]).partition("/")
        groups.setdefault(folder if slash else "", []).append(row)
    return groups if len(groups) > 1 else {"": list(rows)}


def _row(score: ClipScore) -> dict[str, float | str]:
    row: dict[str, float | str] = {"clip": score.name, "frames": score.num_frames}
    for encoder in score.adjacent:
        name = _NAMES.get(encoder, encoder)
        row[f"{name} adjacent"] = score.adjacent[encoder]
        row[f"{name} to photo"] = score.reference[encoder]
    return {**row, "SSIM": score.ssim, "level": score.level, "flicker": score.flicker}


def _as_csv(scores: Sequence[ClipScore]) -> str:
    rows = [_row(score) for score in scores]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _format(value: float | str) -> str:
    if isinstance(value, str):
        return value.replace("|", "\\|")
    return str(value) if isinstance(value, int) else f"{value:.3f}"
