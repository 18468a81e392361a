"""Metrics in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from livephoto_core.evaluation.metrics import (
    adjacent_similarity,
    brightness,
    flicker,
    reference_similarity,
)


def directions(*degrees):
    angles = torch.tensor([math.radians(d) for d in degrees])
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_adjacent_similarity_is_the_mean_cosine_in_percent():
    embeddings = directions(0, 60, 60) * torch.tensor([[1.0], [5.0], [0.1]])
    assert adjacent_similarity(embeddings) == pytest.approx(75)
    with pytest.raises(ValueError, match="2 or more frames, got 1"):
        adjacent_similarity(embeddings[:1])


def test_reference_similarity_is_that_of_each_frame():
    assert reference_similarity(directions(0, 90, 180), directions(0)[0]) == pytest.approx(
        [100, 0, -100], abs=1e-4
    )


def test_brightness_is_luma():
    images = torch.zeros(2, 4, 4, 3)
    images[1, ..., 1] = 1
    torch.testing.assert_close(brightness(images), torch.tensor([0, 0.587]))


def test_steady_fade_does_not_flicker_and_a_flash_does():
    assert flicker(torch.linspace(0, 1, 11)) == pytest.approx(0, abs=1e-5)
    # One frame of five, 0.2 brighter: second differences 0.2, 0.4, 0.2.
    assert flicker(torch.tensor([0.5, 0.5, 0.7, 0.5, 0.5])) == pytest.approx(100 * 0.4 / 3)
    assert flicker(torch.tensor([0.1, 0.9])) == 0
