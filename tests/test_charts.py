"""Pictures on nodes: what they show is checked where it can be measured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from livephoto_core.charts import ssim_chart
from livephoto_core.motion_intensity import DEFAULT_EDGES, motion_level

PLOT_PX = 236
LEFT, RIGHT, TOP = 84, 600, 44
LINE = torch.tensor([82, 82, 91]) / 255


def chart_of(ssim: list[float]) -> Tensor:
    mean = sum(ssim) / len(ssim)
    return ssim_chart(ssim, motion_level(mean, DEFAULT_EDGES), DEFAULT_EDGES)[0]


def bar_heights(ssim: list[float]) -> list[int]:
    """Pixels from the foot of each bar to its top, in the middle of the bar."""
    chart, step = chart_of(ssim), (RIGHT - LEFT) / len(ssim)
    columns = [chart[:, int(LEFT + (index + 0.5) * step)] for index in range(len(ssim))]
    blue = [torch.nonzero((pixels[:, 2] > 0.9) & (pixels[:, 0] < 0.4)) for pixels in columns]
    return [int(rows.max() - rows.min()) for rows in blue]


def edge_rows(ssim: list[float]) -> list[int]:
    """Rows of the lines, beside the bars."""
    column = chart_of(ssim)[TOP:, RIGHT]
    return torch.nonzero((column - LINE).abs().amax(-1) < 0.01).flatten().tolist()


def test_bars_rise_with_ssim_evenly():
    low, middle, high = bar_heights([0.6, 0.8, 1.0])
    assert middle - low == pytest.approx(high - middle, abs=2)
    assert high == pytest.approx(PLOT_PX, abs=2)


@pytest.mark.parametrize("least", [0.999, 0.96, 0.9, 0.3, -0.2])
def test_lowest_bar_can_be_seen_and_is_the_lowest(least):
    heights = bar_heights([least, (least + 1) / 2, 1.0])
    assert 0 < heights[0] < heights[1] < heights[2]


def test_clip_with_little_motion_fills_the_picture_with_its_differences():
    low, high = bar_heights([0.94, 0.96])
    assert high - low > PLOT_PX / 10
    near_still = bar_heights([0.992, 0.998])
    assert near_still[1] - near_still[0] > PLOT_PX / 3


@pytest.mark.parametrize(("least", "num_edges"), [(0.995, 1), (0.96, 3), (0.9, 4), (0.2, 9)])
def test_edges_are_shown_down_to_the_first_below_all_bars(least, num_edges):
    rows = edge_rows([least, 1.0])
    # And the foot of the chart.
    assert len(rows) == num_edges + 1
    assert rows == sorted(rows)


def test_clip_without_motion_has_full_bars():
    assert bar_heights([1.0, 1.0]) == [pytest.approx(PLOT_PX, abs=2)] * 2
