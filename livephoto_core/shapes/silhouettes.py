"""The shapes as signed distance functions, and the coverage of pixels that follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_SPOT_RADIUS = 0.3
_SPOT_OFFSETS = {"heart": 0.22}  # in radii above the centre: below the notch
_SPOT_OFFSET = 0.42
_SPOT_RIM = 0.08

_STAR_POINTS = 5
_STAR_TIP, _STAR_NOTCH = 1.1, 0.52
_HEART_DIAGONAL = 0.82
# Of the figure before it is centred, in diagonals: shapes turn about their centre of area.
_HEART_CENTRE = -0.314


def pixel_grid(size_px: int) -> Tensor:
    """Centres of the pixels, (2 h w): first x, then y; fractions of the frame."""
    centres = (torch.arange(size_px) + 0.5) / size_px
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y])


def local_coordinates(
    grid: Tensor, *, centre: Tensor, radius: Tensor, angle: Tensor
) -> tuple[Tensor, Tensor]:
    """Points x and y, each (f h w), as an upright shape of radius 1 at the origin sees them.

    Args:
        grid: Points, (2 h w).
        centre: (f, 2), in the same unit.
        radius: (f,), above 0.
        angle: (f,), radians clockwise on the screen.
    """
    cos, sin = torch.cos(angle) / radius, torch.sin(angle) / radius
    cos, sin = cos[:, None, None], sin[:, None, None]
    x, y = (grid[axis] - centre[:, axis, None, None] for axis in (0, 1))
    return cos * x + sin * y, cos * y - sin * x


def shape_distance(shape: str, x: Tensor, y: Tensor) -> Tensor:
    """Distance to the outline in radii, negative inside, exact at the outline.

    Args:
        shape: One of `scene.SHAPES`.
        x: Of points of `local_coordinates`, any shape.
        y: Theirs.
    """
    return _DISTANCES[shape](x, y)


def spot_distance(shape: str, body: Tensor, *, x: Tensor, y: Tensor) -> Tensor:
    """Distance to the outline of the white spot, which stays inside the body's outline.

    Args:
        shape: One of `scene.SHAPES`.
        body: Distances to the outline of the shape.
        x: Of the points they belong to.
        y: Theirs.
    """
    offset = _SPOT_OFFSETS.get(shape, _SPOT_OFFSET)
    return torch.maximum(torch.hypot(x, y + offset) - _SPOT_RADIUS, body + _SPOT_RIM)


def coverage(distance_px: Tensor) -> Tensor:
    """Share of each pixel inside an outline whose signed distance in px is given."""
    return (0.5 - distance_px).clamp(0, 1)


def segment_distance(grid: Tensor, points: Tensor) -> Tensor:
    """Distance of points to a line through corners.

    Args:
        grid: Points, (2 h w).
        points: Corners, (n, 2), at least two.
    Returns:
        (h, w), in the same unit.
    """
    starts, ways = points[:-1], points[1:] - points[:-1]
    offset = grid[None] - starts[:, :, None, None]
    along = torch.einsum("nchw,nc->nhw", offset, ways / ways.square().sum(1, keepdim=True))
    nearest = along.clamp(0, 1)[:, None] * ways[:, :, None, None]
    return (offset - nearest).norm(dim=1).amin(0)


def _circle(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x, y) - 0.88


def _square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.76


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    right = math.sqrt(3) / 2 * x.abs() - y / 2
    return torch.maximum(right, y) - 0.55


def _star(x: Tensor, y: Tensor) -> Tensor:
    # Folded about the mirror lines until all points lie between the upper tip and the next notch.
    x = x.abs()
    for turns in (2, 1):
        angle = math.pi / _STAR_POINTS * turns
        beyond = (x * math.cos(angle) + y * math.sin(angle)).clamp(min=0)
        x, y = x - 2 * beyond * math.cos(angle), y - 2 * beyond * math.sin(angle)
        x = x.abs()
    half = math.pi / _STAR_POINTS
    way_x, way_y = _STAR_NOTCH * math.sin(half), _STAR_TIP - _STAR_NOTCH * math.cos(half)
    return (x * way_y + (y + _STAR_TIP) * -way_x) / math.hypot(way_x, way_y)


def _heart(x: Tensor, y: Tensor) -> Tensor:
    # A square on its tip, and a disc on each of its two upper sides.
    x, y = x.abs(), y + _HEART_CENTRE * _HEART_DIAGONAL
    side = (x + y.abs() - _HEART_DIAGONAL) / math.sqrt(2)
    half = _HEART_DIAGONAL / 2
    disc = torch.hypot(x - half, y + half) - math.sqrt(2) * half
    return torch.minimum(side, disc)


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
}
