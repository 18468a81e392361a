"""What a demo shows at its end: a table for the terminal, and a contact sheet of all videos."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from harness.demo_measure import Result
from harness.demo_picture import to_pil

_NUM_COLUMNS = 8
_SCALE = 2
_TEXT_WIDTH_PX = 280
_MARGIN_PX = 8
_FONT_SIZE_PX = 15
_WRAP_CHARACTERS = 32
_INK, _FAINT_INK, _PAPER = "#1a1a1a", "#606060", "#ffffff"

_HEADINGS = ("sentence", "motion asked", "measured", "level asked", "measured", "seconds")


def table(results: Sequence[Result]) -> str:
    """All results as lines of text, and how many are as asked."""
    rows = [_HEADINGS, *map(_row, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:], "", summary(results)])


def summary(results: Sequence[Result]) -> str:
    """How many videos move as asked, and how many as much as asked."""
    asked = [result for result in results if result.asked_motion]
    as_asked = sum(result.motion == result.asked_motion for result in asked)
    near = sum(abs(result.level - result.request.level) <= 1 for result in results)
    return (
        f"Motion as asked: {as_asked} of {len(asked)}. "
        f"Level within one of the asked: {near} of {len(results)}. "
        f"{sum(result.seconds for result in results):.0f} s in all."
    )


def contact_sheet(results: Sequence[Result]) -> Image.Image:
    """One row for each video: sentence, levels and motions, then 8 of its frames, twice as large.

    Args:
        results: At least one; all frames of the same size.
    """
    height, width = (_SCALE * side for side in results[0].frames.shape[1:3])
    row_height = height + _MARGIN_PX
    size = (
        _TEXT_WIDTH_PX + _NUM_COLUMNS * (width + _MARGIN_PX) + _MARGIN_PX,
        len(results) * row_height + _MARGIN_PX,
    )
    sheet = Image.new("RGB", size, _PAPER)
    for number, result in enumerate(results):
        top = _MARGIN_PX + number * row_height
        _write_facts(sheet, result, top)
        for column, frame in enumerate(_sheet_frames(result.frames)):
            left = _TEXT_WIDTH_PX + _MARGIN_PX + column * (width + _MARGIN_PX)
            enlarged = to_pil(frame).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (left, top))
    return sheet


def _row(result: Result) -> tuple[str, ...]:
    return (
        result.request.prompt,
        _in_words(result.asked_motion),
        _in_words(result.motion),
        f"{result.request.level:g}",
        str(result.level),
        f"{result.seconds:.1f}",
    )


def _in_words(motion: str | None) -> str:
    return motion.replace("_", " ") if motion else "-"


def _sheet_frames(frames: Tensor) -> Tensor:
    """The first, the last and those between them at equal steps."""
    return frames[torch.linspace(0, len(frames) - 1, _NUM_COLUMNS).round().long()]


def _write_facts(sheet: Image.Image, result: Result, top: int) -> None:
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE_PX)
    sentence = textwrap.fill(result.request.prompt, _WRAP_CHARACTERS, max_lines=3)
    facts = (
        f"asked: {_in_words(result.asked_motion)}, level {result.request.level:g}\n"
        f"shows: {_in_words(result.motion)}, level {result.level}"
    )
    draw.multiline_text((_MARGIN_PX, top), sentence, fill=_INK, font=font)
    bottom = draw.multiline_textbbox((_MARGIN_PX, top), sentence, font=font)[3]
    place = (_MARGIN_PX, bottom + _MARGIN_PX)
    draw.multiline_text(place, facts, fill=_FAINT_INK, font=font)
