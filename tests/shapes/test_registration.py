import math

import pytest
import torch
from skimage.data import camera
from skimage.transform import AffineTransform, warp

from livephoto_core.shapes.registration import register_background

_SIZE_PX = 64


@pytest.fixture(scope="module")
def photo():
    return camera()[128:384, 128:384] / 255


def _views(photo, shifts, zooms):
    """A clip of a photo by scikit-image: shifted by fractions of the frame and zoomed."""
    views = []
    for shift, zoom in zip(shifts, zooms, strict=True):
        centre = len(photo) / 2 - 0.5
        moved = centre * (1 - zoom) + len(photo) * torch.tensor(shift).numpy()
        transform = AffineTransform(scale=zoom, translation=moved)
        view = warp(photo, transform.inverse, mode="reflect", order=3)
        views.append(torch.tensor(view.reshape(_SIZE_PX, 4, _SIZE_PX, 4).mean(axis=(1, 3))))
    return torch.stack(views).float()


def test_shift_of_a_photo_is_found(photo):
    shifts = [(0.015 * t, -0.008 * t) for t in range(10)]
    images = _views(photo, shifts, [1.0] * 10)

    shift, log_zoom = register_background(images, torch.zeros(images.shape, dtype=torch.bool))
    torch.testing.assert_close(shift, torch.tensor(shifts), atol=2e-3, rtol=0)
    assert log_zoom.abs().max() < 0.01


@pytest.mark.parametrize("per_frame", [1.05, 1 / 1.05])
def test_zoom_into_a_photo_is_found(photo, per_frame):
    zooms = [per_frame**t for t in range(10)]
    images = _views(photo, [(0.0, 0.0)] * 10, zooms)

    shift, log_zoom = register_background(images, torch.zeros(images.shape, dtype=torch.bool))
    expected = torch.tensor([math.log(zoom) for zoom in zooms])
    torch.testing.assert_close(log_zoom, expected, atol=0.02, rtol=0)
    assert shift.abs().max() < 5e-3


def test_something_that_moves_in_front_is_ignored(photo):
    images = _views(photo, [(0.0, 0.0)] * 8, [1.0] * 8)
    foreground = torch.zeros(images.shape, dtype=torch.bool)
    for t in range(8):
        foreground[t, 20:44, 4 * t : 4 * t + 24] = True
    images[foreground] = 1.0

    shift, log_zoom = register_background(images, foreground)
    assert shift.abs().max() < 2e-3 and log_zoom.abs().max() < 5e-3


def test_change_of_light_is_no_motion(photo):
    images = _views(photo, [(0.0, 0.0)] * 4, [1.0] * 4) * 0.5
    images[2] += 0.3

    shift, log_zoom = register_background(images, torch.zeros(images.shape, dtype=torch.bool))
    assert shift.abs().max() < 2e-3 and log_zoom.abs().max() < 5e-3


def test_featureless_background_stays_where_it_is():
    images = torch.full((4, _SIZE_PX, _SIZE_PX), 0.4)

    shift, log_zoom = register_background(images, torch.zeros(images.shape, dtype=torch.bool))
    assert not shift.any() and not log_zoom.any()
