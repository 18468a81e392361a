"""Small pictures shown on nodes: words with their weights, motion from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_BACKGROUND, _INK, _FAINT, _ACCENT = (24, 24, 27), (244, 244, 245), (82, 82, 91), (59, 130, 246)


def word_weights_picture(
    words: Sequence[str], weights: Sequence[float], *, width_px: int = 640
) -> Tensor:
    """The sentence with every word shaded by its weight, the largest underlined (figure 3).

    Args:
        words: In the order of the sentence.
        weights: One per word; 0 to 1, overrides may go beyond.
    Returns:
        Image, (1 h width_px 3) in 0…1.
    Raises:
        ValueError: If there are not as many weights as words.
    """
    if len(words) != len(weights):
        raise ValueError(f"{len(words)} words need as many weights, got {len(weights)}.")
    font, small = ImageFont.load_default(size=20), ImageFont.load_default(size=12)
    rows = _wrap([max(font.getlength(word), 30) for word in words], width_px - 32)
    image = Image.new("RGB", (width_px, 24 + 62 * max(len(rows), 1)), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    strongest = max(range(len(words)), key=lambda i: weights[i], default=None)
    for row, placed in enumerate(rows):
        for index, left, word_width in placed:
            x, y = 16 + left, 16 + 62 * row
            shade = _blend(_BACKGROUND, _ACCENT, min(max(weights[index], 0.0), 1.0))
            draw.rounded_rectangle((x - 5, y - 3, x + word_width + 5, y + 27), 5, fill=shade)
            draw.text((x, y), words[index], font=font, fill=_INK)
            draw.text((x, y + 31), f"{weights[index]:.2f}", font=small, fill=_INK)
            if index == strongest:
                draw.line((x, y + 25, x + word_width, y + 25), fill=_INK, width=2)
    return _as_images(image)


def ssim_chart(ssim: Sequence[float], level: int, edges: Sequence[float]) -> Tensor:
    """SSIM of each pair of frames as bars, the level edges as lines.

    Args:
        ssim: One value per adjacent pair.
        level: Of the whole clip, 1 to 10.
        edges: The nine SSIM values between levels, from high to low.
    Returns:
        Image, (1 320 640 3) in 0…1.
    """
    font = ImageFont.load_default(size=16)
    image = Image.new("RGB", (640, 320), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    floor = min([0.0, *ssim])
    left, top, right, bottom = 50, 40, 624, 292

    def y(value: float) -> float:
        return bottom - (value - floor) / (1.0 - floor) * (bottom - top)

    for edge in edges:
        draw.line((left, y(edge), right, y(edge)), fill=_FAINT)
    step = (right - left) / max(len(ssim), 1)
    for index, value in enumerate(ssim):
        x = left + index * step
        draw.rectangle((x + 1, y(value), x + max(step - 1, 2), bottom), fill=_ACCENT)
    for value in (floor, 1.0):
        draw.text((8, y(value) - 9), f"{value:.1f}", font=font, fill=_INK)
    mean = sum(ssim) / max(len(ssim), 1)
    title = f"motion level {level} of 10     SSIM of adjacent frames {mean:.3f}"
    draw.text((left, 10), title, font=font, fill=_INK)
    draw.text((left, bottom + 6), "frames", font=font, fill=_INK)
    return _as_images(image)


def _wrap(widths: Sequence[float], width_px: int) -> list[list[tuple[int, float, float]]]:
    """Rows of (index, left, width) that keep within `width_px`."""
    rows: list[list[tuple[int, float, float]]] = []
    left = 0.0
    for index, width in enumerate(widths):
        if not rows or left + width > width_px:
            rows.append([])
            left = 0.0
        rows[-1].append((index, left, width))
        left += width + 16
    return rows


def _blend(start: tuple[int, int, int], end: tuple[int, int, int], share: float) -> tuple[int, ...]:
    return tuple(round(a + (b - a) * share) for a, b in zip(start, end, strict=True))


def _as_images(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)[None]
