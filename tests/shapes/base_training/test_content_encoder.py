"""Labels of patches against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from livephoto_core.shapes.base_training.content_encoder import patch_labels
from livephoto_core.shapes.base_training.pictures import sample_picture
from livephoto_core.shapes.rendering import render_moments


def test_patch_labels_cover_the_area_of_a_circle():
    scene = next(
        picture.scene
        for picture in (sample_picture(0, index) for index in range(100))
        if picture.scene.shape == "circle" and picture.scene.motion.startswith("move_")
    )
    image = render_moments(scene, torch.zeros(1), 128)
    labels = patch_labels(scene, 0.0, image)
    assert labels.shape == (256, 19)
    area = math.pi * (0.88 * scene.radius) ** 2  # a circle's outline lies at 0.88 radii
    assert labels[:, 0].sum().item() / 256 == pytest.approx(area, rel=0.02)
    assert labels[:, 1:5].sum() == 0
    colour = labels[:, 5:13].sum(dim=0)
    assert colour.max() == colour.sum() > 0
    torch.testing.assert_close(labels[:, 14:17].mean(0), image.mean(dim=(0, 1, 2)))


def test_patch_labels_turn_with_the_shape():
    scenes = [sample_picture(0, index).scene for index in range(200)]
    scene = next(s for s in scenes if s.motion == "turn_clockwise" and s.speed_px > 3)
    labels = [
        patch_labels(scene, time, render_moments(scene, torch.tensor([time]), 128))
        for time in (0.0, 4.0)
    ]
    lengths = [label[:, -2:].norm(dim=1) for label in labels]
    inside = lengths[0] < 0.6
    torch.testing.assert_close(lengths[0][inside], lengths[1][inside], atol=1e-4, rtol=0)
    assert not torch.allclose(labels[0][inside, -2:], labels[1][inside, -2:], atol=0.05)
