import numpy as np
import pytest

from livephoto_core.motion_intensity import check_edges, level_edges, motion_level
from livephoto_core.training.preparation.level_histogram import RESOLUTION, SsimHistogram

DISTRIBUTIONS = {
    "natural": lambda rng: rng.beta(8, 2, 5000),
    "whole range": lambda rng: rng.uniform(-1, 1, 997),
    "many still": lambda rng: np.r_[np.ones(600), rng.beta(8, 2, 1001)],
    "all still": lambda rng: np.ones(50),
    "few": lambda rng: rng.uniform(0, 1, 10),
    "bounds": lambda rng: np.r_[-np.ones(7), np.ones(9)],
    "two values": lambda rng: np.r_[np.full(500, 0.3), np.full(500, 0.7)],
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_edges_agree_with_the_list_of_all_values(name):
    values = DISTRIBUTIONS[name](np.random.default_rng(5))
    histogram = SsimHistogram()
    for batch in np.array_split(values, 7):
        histogram.add(batch.tolist())
    exact, sketched = level_edges(values.tolist()), histogram.level_edges()
    difference = np.subtract(exact, sketched)
    assert (difference >= -1e-12).all()
    assert (difference <= RESOLUTION + 1e-12).all()
    assert check_edges(sketched) == sketched
    assert histogram.num_clips == len(values)


def test_clips_that_share_an_edge_get_the_level_they_get_from_the_exact_edges():
    values = np.r_[np.full(300, 0.4), np.full(300, 0.6), np.full(400, 1.0)].tolist()
    histogram = SsimHistogram()
    histogram.add(values)
    for value in (0.4, 0.6, 1.0):
        assert motion_level(value, histogram.level_edges()) == motion_level(
            value, level_edges(values)
        )


@pytest.mark.parametrize("value", [float("nan"), 1.1, -1.1])
def test_value_that_is_no_ssim_is_refused(value):
    with pytest.raises(ValueError, match="ssim_values must be numbers"):
        SsimHistogram().add([0.5, value])


def test_fewer_clips_than_levels_are_refused():
    histogram = SsimHistogram()
    histogram.add([0.5] * 9)
    with pytest.raises(ValueError, match="10 clips, got 9"):
        histogram.level_edges()
