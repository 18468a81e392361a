import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livephoto_core.training.preparation.clip_sampling import ClipConfig, Draw, cut, draw_for


@given(
    stride=st.integers(1, 6),
    place=st.floats(0, 1, exclude_max=True),
    available=st.integers(0, 500),
    num_frames=st.integers(2, 32),
)
def test_cut_lies_in_the_video_and_is_none_only_for_too_short_ones(
    stride, place, available, num_frames
):
    found = cut(Draw(stride, place), available=available, num_frames=num_frames)
    if available < num_frames:
        assert found is None
        return
    last = found.start + (num_frames - 1) * found.stride
    assert found.start >= 0
    assert last < available
    if found.stride < stride:
        assert (num_frames - 1) * (found.stride + 1) >= available


def test_draws_depend_on_seed_and_name_only_and_cover_all_strides_and_places_evenly():
    config = ClipConfig(strides=(1, 6), seed=3)
    draws = [draw_for(f"{i}.mp4", config) for i in range(6000)]
    assert draws == [draw_for(f"{i}.mp4", config) for i in range(6000)]
    assert draws != [draw_for(f"{i}.mp4", ClipConfig(seed=4)) for i in range(6000)]
    counts = np.bincount([draw.stride for draw in draws], minlength=7)
    assert counts[0] == 0
    # Five standard deviations of a fair die.
    assert np.abs(counts[1:] - 1000).max() < 5 * np.sqrt(6000 * 5 / 36)
    tenths = np.histogram([draw.place for draw in draws], bins=10, range=(0, 1))[0]
    assert np.abs(tenths - 600).max() < 5 * np.sqrt(6000 * 0.09)


def test_first_and_last_possible_start_both_occur():
    config = ClipConfig(strides=(1, 1))
    starts = {cut(draw_for(str(i), config), available=20, num_frames=16).start for i in range(200)}
    assert starts == {0, 1, 2, 3, 4}


def test_draw_is_the_same_on_every_machine_and_python():
    # Stored: changing it would make continued data sets inconsistent.
    assert draw_for("a/1.mp4", ClipConfig()) == Draw(stride=3, place=0.7401934802069903)


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--size", {"size_px": (256, 100)}),
        ("--size", {"size_px": (8, 64)}),
        ("--frames", {"num_frames": 1}),
        ("--min-stride", {"strides": (0, 6)}),
        ("--max-stride", {"strides": (3, 2)}),
    ],
)
def test_bad_configuration_names_the_option(option, arguments):
    with pytest.raises(ValueError, match=option):
        ClipConfig(**arguments)
