"""Pictures on nodes: what they show is checked where it can be measured."""

from __future__ import annotations

import pytest

from livephoto_core.charts import ssim_chart
from livephoto_core.motion_intensity import DEFAULT_EDGES


def test_bars_are_as_high_as_ssim():
    def bar_pixels(value: float) -> int:
        chart = ssim_chart([value] * 4, 5, DEFAULT_EDGES)
        return int((chart[..., 2] > 0.9).logical_and(chart[..., 0] < 0.4).sum())

    half, full = bar_pixels(0.5), bar_pixels(1.0)
    assert half == pytest.approx(full / 2, rel=0.05)
