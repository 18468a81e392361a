"""Pictures on nodes: what they show is checked where it can be measured."""

from __future__ import annotations

import pytest
import torch

from livephoto_core.charts import ssim_chart, word_weights_picture
from livephoto_core.motion_intensity import DEFAULT_EDGES

WORDS = ["a", "dinosaur", "waving"]


def test_words_are_shaded_by_their_weight():
    low = word_weights_picture(WORDS, [0.1, 0.1, 0.1])
    high = word_weights_picture(WORDS, [0.1, 0.1, 1.0])
    assert low.shape == high.shape and low.shape[0] == 1 and low.shape[-1] == 3
    blue = (high - low)[..., 2].clamp(min=0)
    columns = blue.sum(dim=(0, 1)).nonzero().flatten()
    # The change lies where the third word stands, right of the others.
    assert columns.min() > 130


def test_long_sentences_wrap_onto_more_rows():
    short, long = word_weights_picture(WORDS, [1] * 3), word_weights_picture(WORDS * 9, [1] * 27)
    assert long.shape[1] > 2 * short.shape[1] and long.shape[2] == short.shape[2]


def test_no_words_make_a_picture_too():
    assert torch.isfinite(word_weights_picture([], [])).all()


def test_weights_must_match_words():
    with pytest.raises(ValueError, match="3 words need as many weights, got 1"):
        word_weights_picture(WORDS, [1.0])


def test_bars_are_as_high_as_ssim():
    def bar_pixels(value: float) -> int:
        chart = ssim_chart([value] * 4, 5, DEFAULT_EDGES)
        return int((chart[..., 2] > 0.9).logical_and(chart[..., 0] < 0.4).sum())

    half, full = bar_pixels(0.5), bar_pixels(1.0)
    assert half == pytest.approx(full / 2, rel=0.05)
