"""Where the shape is in a picture: the only saturated thing, with a white spot, on a muted ground.

No learned judge: clips of a model are measured by the same closed forms as rendered ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .silhouettes import pixel_grid

NUM_ANGLES = 90
_RADII = tuple(0.15 + 0.15 * step for step in range(11))
_BRIGHTEST_SHARE = 0.015
_MIN_SATURATION = 0.2
_FIRST_SATURATED, _FULLY_SATURATED = 0.4, 0.7
_FIRST_WHITE, _FULLY_WHITE = 0.7, 0.9
_WINDOW_FACTOR, _WINDOW_MARGIN = 1.7, 0.05
_MIN_AREA = 1e-3


@dataclass(frozen=True)
class Layers:
    """How much each pixel is of the shape.

    Attributes:
        coloured: Saturated share, (f h w), 0 to 1.
        white: White share, (f h w), 0 to 1: the spot, and lightning.
    """

    coloured: Tensor
    white: Tensor


@dataclass(frozen=True)
class ShapeTrack:
    """The main shape over f frames. Lengths are fractions of the frame.

    Attributes:
        centre: Of its silhouette, (f, 2) as (x, y).
        radius: Of the disc with its area, (f,).
        other_area: Of all that is coloured elsewhere, (f,), as a share of the frame.
    """

    centre: Tensor
    radius: Tensor
    other_area: Tensor


def find_layers(images: Tensor) -> Layers:
    """The coloured and the white share of each pixel.

    Saturation is judged by that of the first frame's shape, so pale colours are found as well.

    Args:
        images: Frames, (f h w 3), 0 to 1.
    """
    saturation = (images - images.mean(dim=-1, keepdim=True)).square().sum(dim=-1).sqrt()
    first = saturation[0].flatten()
    brightest = first.topk(max(1, round(_BRIGHTEST_SHARE * len(first)))).values
    relative = saturation / brightest.mean().clamp(min=_MIN_SATURATION)
    return Layers(
        coloured=_ramp(relative, _FIRST_SATURATED, _FULLY_SATURATED),
        white=_ramp(images.amin(dim=-1), _FIRST_WHITE, _FULLY_WHITE),
    )


def follow_shape(layers: Layers) -> ShapeTrack:
    """The shape that is there in the first frame, followed in a window around where it was."""
    grid = pixel_grid(layers.coloured.shape[-1])
    everywhere = torch.ones_like(layers.coloured[0])
    centre, radius = _moments(layers.coloured[0], everywhere, grid) or (
        torch.full((2,), 0.5),
        torch.tensor(_WINDOW_MARGIN),
    )
    centres, radii, others = [], [], []
    for coloured, white in zip(layers.coloured, layers.white, strict=True):
        silhouette = torch.maximum(coloured, white)
        for _ in range(2):
            window = _window(grid, centre, radius)
            centre, radius = _moments(silhouette, window, grid) or (centre, radius)
        centres.append(centre)
        radii.append(radius)
        others.append((coloured * (1 - _window(grid, centre, radius))).mean())
    return ShapeTrack(torch.stack(centres), torch.stack(radii), torch.stack(others))


def polar_views(layers: Layers, track: ShapeTrack) -> Tensor:
    """The shape in polar coordinates about its centre, its size divided out.

    A rotation of the shape is a circular shift along the last axis.

    Returns:
        (f, 2, radii, angles): coloured and white share, rings weighted by the root of their length.
    """
    angles = torch.arange(NUM_ANGLES) * (2 * math.pi / NUM_ANGLES)
    radii = torch.tensor(_RADII)
    rays = torch.stack([torch.sin(angles), -torch.cos(angles)], dim=-1)
    offsets = radii[:, None, None] * rays
    points = track.centre[:, None, None] + track.radius[:, None, None, None] * offsets
    maps = torch.stack([layers.coloured, layers.white], dim=1)
    views = F.grid_sample(maps, 2 * points - 1, align_corners=False)
    return views * radii.sqrt()[:, None]


def angular_correlation(views: Tensor, template: Tensor) -> Tensor:
    """Product sum of polar views with a template turned clockwise by each angle.

    Args:
        views: (f, 2, radii, angles).
        template: (2, radii, angles).
    Returns:
        (f, angles).
    """
    spectrum = torch.fft.rfft(views) * torch.fft.rfft(template).conj()
    return torch.fft.irfft(spectrum.sum(dim=(1, 2)), n=NUM_ANGLES)


def _moments(silhouette: Tensor, window: Tensor, grid: Tensor) -> tuple[Tensor, Tensor] | None:
    """Centre and radius of what is in the window, or None where there is next to nothing."""
    weights = silhouette * window
    area = weights.mean()
    if area < _MIN_AREA:
        return None
    centre = (weights * grid).mean(dim=(1, 2)) / area
    return centre, (area / math.pi).sqrt()


def _window(grid: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    distance = torch.hypot(grid[0] - centre[0], grid[1] - centre[1])
    return (distance < _WINDOW_FACTOR * radius + _WINDOW_MARGIN).to(distance.dtype)


def _ramp(values: Tensor, low: float, high: float) -> Tensor:
    return ((values - low) / (high - low)).clamp(0, 1)
