"""Small pictures shown on nodes: motion from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_BACKGROUND, _INK, _FAINT, _ACCENT = (24, 24, 27), (244, 244, 245), (82, 82, 91), (59, 130, 246)
_FONT_PX = 24  # nodes show the chart at half its size or less


def ssim_chart(ssim: Sequence[float], level: int, edges: Sequence[float]) -> Tensor:
    """SSIM of each pair of frames as bars, the level edges as lines across them.

    Our choice: the axis begins just below the first edge that no bar falls under, so that real
    clips, all of whose SSIM is near 1, still show their ups and downs and the levels they cross.

    Args:
        ssim: One value per adjacent pair, at least one.
        level: Of the whole clip, 1 to 10.
        edges: The nine SSIM values between levels, from high to low.
    Returns:
        Image, (1 320 640 3) in 0…1.
    """
    text = {"font": ImageFont.load_default(size=_FONT_PX), "fill": _INK}
    image = Image.new("RGB", (640, 320), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    floor = _floor(ssim, edges)
    left, top, right, bottom = 84, 44, 600, 280

    def y(value: float) -> float:
        return bottom - (value - floor) / (1.0 - floor) * (bottom - top)

    step = (right - left) / len(ssim)
    for index, value in enumerate(ssim):
        x = left + index * step
        draw.rectangle((x + 1, y(value), x + max(step - 1, 2), bottom), fill=_ACCENT)
    shown = [1.0, *(edge for edge in edges if edge > floor), floor]
    for number, (above, below) in enumerate(pairwise(shown), start=1):
        draw.line((left, y(below), right, y(below)), fill=_FAINT)
        if y(below) - y(above) >= _FONT_PX:
            draw.text((right + 8, (y(above) + y(below)) / 2), str(number), **text, anchor="lm")
    for value in (floor, 1.0):
        draw.text((left - 8, y(value)), f"{value:.3f}", **text, anchor="rm")
    title = f"motion level {level} of 10, mean SSIM {sum(ssim) / len(ssim):.3f}"
    draw.text((left, top - 14), title, **text, anchor="ls")
    draw.text((left, bottom + 28), "frames (low bars: much motion)", **text, anchor="ls")
    draw.text((632, top - 14), "level", **text, anchor="rs")
    return _as_images(image)


def _floor(ssim: Sequence[float], edges: Sequence[float]) -> float:
    """Where the axis begins: below all bars, and below the first edge that none falls under."""
    lowest = min(ssim)
    lowest = next((edge for edge in edges if edge <= lowest), lowest)
    return lowest - 0.06 * max(1.0 - lowest, 1e-3)


def _as_images(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)[None]
