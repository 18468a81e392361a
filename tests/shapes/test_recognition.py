"""Telling pictures of the shapes world from all others."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from livephoto_core.shapes.recognition import is_shapes_picture
from livephoto_core.shapes.rendering import render_clip, render_moments
from livephoto_core.shapes.scene import MOTIONS, sample_scene

PHOTOS = ("astronaut", "camera", "chelsea", "coffee", "hubble_deep_field", "retina", "rocket")
DRAWINGS = ("colorwheel", "logo", "page", "immunohistochemistry")


def as_image(pixels) -> torch.Tensor:
    pixels = np.array(np.atleast_3d(pixels)[..., :3])
    return torch.from_numpy(pixels).float().expand(-1, -1, 3) / 255


@pytest.mark.parametrize("size_px", [64, 100, 256])
def test_first_frames_are_recognised(size_px):
    scenes = [sample_scene(size_px, index) for index in range(150)]
    assert all(is_shapes_picture(render_clip(scene, 1, size_px)[0]) for scene in scenes)


@pytest.mark.parametrize("motion", MOTIONS)
def test_frames_of_every_motion_are_recognised(motion):
    times = torch.tensor([5.0, 10.0, 15.0])
    for index in range(20):
        scene = sample_scene(3, index, motions=[motion])
        assert all(map(is_shapes_picture, render_moments(scene, times, 64)))


def test_jpeg_of_a_shape_is_recognised():
    for index in range(40):
        frame = render_clip(sample_scene(4, index), 1, 128)[0]
        stream = io.BytesIO()
        Image.fromarray((frame * 255).byte().numpy()).save(stream, "JPEG", quality=60)
        assert is_shapes_picture(as_image(np.asarray(Image.open(stream))))


@pytest.mark.parametrize("name", [*PHOTOS, *DRAWINGS])
def test_photos_and_drawings_are_not(name):
    image = as_image(getattr(data, name)())
    assert not is_shapes_picture(image)
    side = min(image.shape[:2])
    assert not is_shapes_picture(image[:side, :side])
    assert not is_shapes_picture(image[-side // 2 :, -side // 2 :])


def test_ground_without_a_shape_and_shape_on_a_bright_ground_are_not():
    scene = sample_scene(0, 0)
    picture = render_clip(scene, 1, 64)[0]
    is_shape = (picture.amax(-1) - picture.amin(-1) > 0.15)[..., None]
    assert not is_shapes_picture(torch.where(is_shape, torch.tensor(0.4), picture))
    blue_sky = torch.tensor([0.5, 0.7, 1.0])
    assert not is_shapes_picture(torch.where(is_shape, picture, blue_sky))


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (64, 64, 4), (64, 64)])
def test_other_tensors_are_refused(shape):
    with pytest.raises(ValueError, match=r"image must be one picture \(h w 3\), got"):
        is_shapes_picture(torch.zeros(shape))
