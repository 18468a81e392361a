import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import shift
from skimage import data, transform
from skimage.metrics import structural_similarity

from livephoto_core.motion_intensity import (
    DEFAULT_EDGES,
    check_edges,
    frame_pair_ssim,
    level_edges,
    mean_ssim,
    motion_level,
)

REC_601 = np.array([0.299, 0.587, 0.114])
PHOTOS = ["astronaut", "coffee", "cat"]


def scikit_image_ssim(first: np.ndarray, second: np.ndarray) -> float:
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return np.asarray(structural_similarity(first, second, data_range=1, **settings)).item()


def square_photo(name: str, size_px: int) -> np.ndarray:
    photo = getattr(data, name)() / 255
    side = min(photo.shape[:2])
    top, left = ((length - side) // 2 for length in photo.shape[:2])
    photo = photo[top : top + side, left : left + side]
    return np.asarray(transform.resize(photo, (size_px, size_px), anti_aliasing=True))


def panned(photo: np.ndarray, speed_px: float) -> np.ndarray:
    """The photo moved to the right, borders repeated."""
    return shift(photo, (0, speed_px, 0), order=3, mode="nearest").clip(0, 1)


def random_frames(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, 3, generator=torch.Generator().manual_seed(0))


def panned_frames() -> torch.Tensor:
    photo = square_photo("astronaut", 128)
    frames = [panned(photo, speed) for speed in (0, 0.3, 1, 4, 4)]
    return torch.from_numpy(np.stack(frames)).float()


def bright_fade() -> torch.Tensor:
    """Flat frames, where rounding errors of SSIM are largest."""
    levels = torch.tensor([0.9, 0.905, 0.95]).view(3, 1, 1, 1)
    return levels.expand(3, 64, 64, 3)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(panned_frames(), id="panned photo"),
        pytest.param(bright_fade(), id="bright fade"),
        pytest.param(random_frames(3, 11, 11), id="as small as the window"),
        pytest.param(random_frames(3, 40, 71), id="not square"),
        pytest.param(random_frames(40, 64, 64), id="several chunks"),
        pytest.param(random_frames(3, 300, 280), id="frames larger than a chunk"),
    ],
)
def test_ssim_of_each_pair_equals_scikit_image(frames):
    luma = frames.double().numpy() @ REC_601
    expected = [scikit_image_ssim(a, b) for a, b in pairwise(luma)]

    ssim = frame_pair_ssim(frames)

    assert ssim.shape == (len(frames) - 1,)
    np.testing.assert_allclose(ssim.numpy(), expected, rtol=0, atol=1e-6)
    assert mean_ssim(frames) == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_still_clip_has_ssim_one_at_any_brightness(value):
    assert frame_pair_ssim(torch.full((3, 16, 16, 3), value)).tolist() == [1.0, 1.0]


def test_half_precision_frames_are_measured_in_full_precision():
    frames = panned_frames().half()

    torch.testing.assert_close(
        frame_pair_ssim(frames), frame_pair_ssim(frames.double()), rtol=0, atol=0
    )


def test_faster_motion_has_a_higher_level():
    photo = square_photo("coffee", 128)
    clips = [np.stack([panned(photo, n * speed) for n in range(4)]) for speed in (0, 0.6, 5)]
    levels = [motion_level(mean_ssim(torch.from_numpy(clip))) for clip in clips]

    assert levels[0] == 1
    assert levels == sorted(set(levels))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(1, 32, 32, 3), "at least two frames to compare, got 1"),
        (torch.zeros(2, 10, 32, 3), "at least 11 px on each side.*got 32×10"),
        (torch.zeros(2, 3, 32, 32), r"frames \(f h w 3\), got \(2, 3, 32, 32\)"),
        (torch.zeros(32, 32, 3), r"frames \(f h w 3\), got \(32, 32, 3\)"),
        (torch.full((2, 32, 32, 3), math.nan), "values from 0 to 1, got nan"),
        (torch.full((2, 32, 32, 3), math.inf), "values from 0 to 1, got inf"),
        (torch.full((2, 32, 32, 3), -1.0), "values from 0 to 1, got -1"),
        (torch.full((2, 32, 32, 3), 255.0), "values from 0 to 1, got 255"),
    ],
)
def test_unusable_frames_are_refused(frames, message):
    with pytest.raises(ValueError, match=message):
        frame_pair_ssim(frames)


def test_single_nan_in_a_late_frame_is_refused():
    frames = random_frames(40, 64, 64)
    frames[-1, 5, 6, 1] = math.nan

    with pytest.raises(ValueError, match="got nan"):
        frame_pair_ssim(frames)


def test_default_edges_are_the_ssim_of_ever_faster_pans():
    margin = 16  # pixels that the pan brings in from outside the photo
    expected = []
    for step in range(9):
        speed_px = 0.25 * math.sqrt(2) ** step
        values = []
        for name in PHOTOS:
            photo = square_photo(name, 256)
            pair = [
                frame[margin:-margin, margin:-margin] @ REC_601
                for frame in (photo, panned(photo, speed_px))
            ]
            values.append(scikit_image_ssim(*pair))
        expected.append(np.mean(values))

    np.testing.assert_allclose(DEFAULT_EDGES, expected, rtol=0, atol=0.005)


def test_deciles_put_as_many_clips_into_each_level():
    values = torch.rand(1000, generator=torch.Generator().manual_seed(0)) ** 0.3
    edges = level_edges(values)
    levels = [motion_level(value, edges) for value in values.tolist()]

    np.testing.assert_allclose(edges, np.quantile(values.double(), np.arange(9, 0, -1) / 10))
    assert np.bincount(levels).tolist() == [0] + [100] * 10
    assert motion_level(values.max().item(), edges) == 1
    assert motion_level(values.min().item(), edges) == 10


def test_clip_on_an_edge_counts_as_the_stiller_one():
    levels = [motion_level(edge) for edge in DEFAULT_EDGES]

    assert levels == list(range(1, 10))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=2), st.lists(st.floats(-1, 1), min_size=10))
def test_more_motion_never_lowers_the_level(pair, training):
    edges = level_edges(training)
    wild, still = (motion_level(ssim, edges) for ssim in sorted(pair))

    assert 1 <= still <= wild <= 10


def test_many_still_clips_share_the_first_level():
    edges = level_edges([1.0] * 5 + [0.5, 0.6, 0.7, 0.8, 0.9])

    assert edges[:4] == (1.0,) * 4
    assert motion_level(1.0, edges) == 1
    assert motion_level(0.5, edges) == 10


@pytest.mark.parametrize(
    ("edges", "got"),
    [
        (DEFAULT_EDGES[:8], "0.99"),
        (DEFAULT_EDGES[::-1], "0.42"),
        ((math.nan,) * 9, "nan"),
        ((), r"\(\)"),
    ],
)
def test_edges_that_are_not_nine_falling_values_are_refused(edges, got):
    with pytest.raises(ValueError, match=f"edges must be 9 SSIM values.*{got}"):
        check_edges(edges)


@pytest.mark.parametrize("ssim", [math.nan, 1.5, -1.5])
def test_impossible_ssim_has_no_level(ssim):
    with pytest.raises(ValueError, match="ssim must be from -1 to 1"):
        motion_level(ssim)


@pytest.mark.parametrize(
    ("values", "message"),
    [([0.5] * 9, "at least 10 clips.*got 9"), ([0.5] * 9 + [math.nan], "NaN"), ([2.0] * 10, "1")],
)
def test_too_few_or_impossible_clips_give_no_edges(values, message):
    with pytest.raises(ValueError, match=message):
        level_edges(values)
