"""Small pictures shown on nodes: motion from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

_BACKGROUND, _INK, _FAINT, _ACCENT = (24, 24, 27), (244, 244, 245), (82, 82, 91), (59, 130, 246)


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


def _as_images(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)[None]
