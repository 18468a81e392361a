"""What is behind the shape: soft textures that go on beyond the frame, and the lightning."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .motion_paths import Poses
from .scene import Background
from .silhouettes import coverage, segment_distance

LIGHTNING_COLOUR = (1.0, 1.0, 0.85)
_LIGHTNING_WIDTH = 0.014
_LIGHTNING_WAY = (
    (0.0, -0.62),
    (0.05, -0.4),
    (-0.03, -0.36),
    (0.04, -0.14),
    (-0.03, -0.1),
    (0.0, 0),
)
_LIGHTNING_LENGTH = 0.7
_SKY_GLOW = 0.45


def draw_background(background: Background, grid: Tensor, poses: Poses) -> Tensor:
    """The background as the camera sees it.

    Args:
        background: What it is.
        grid: `pixel_grid`, (2 h w).
        poses: Camera at f times.
    Returns:
        (3 f h w), or (3 1 h w) where the camera stands still.
    """
    shift, zoom = poses.shift, poses.zoom
    if not shift.any() and (zoom == 1).all():
        shift, zoom = shift[:1], zoom[:1]
    x, y = ((grid[a] - 0.5 - shift[:, a, None, None]) / zoom[:, None, None] for a in (0, 1))
    share = _pattern(background, x, y)
    first, second = torch.tensor(background.tones)[..., None, None, None]
    return first + share * (second - first)


def draw_lightning(
    images: Tensor, grid: Tensor, *, end: tuple[float, float], flash: Tensor
) -> Tensor:
    """Frames with the lightning and its light on what has been drawn so far.

    Args:
        images: (3 f h w) or (3 1 h w).
        grid: `pixel_grid`, (2 h w).
        end: Where the lightning strikes, fractions of the frame.
        flash: Its strength, (f,), 0 to 1.
    Returns:
        (3 f h w).
    """
    way = torch.tensor(_LIGHTNING_WAY) * torch.tensor([1.0, _LIGHTNING_LENGTH / 0.62])
    corners = way + torch.tensor([end[0], _LIGHTNING_LENGTH])
    distance = segment_distance(grid, corners) - _LIGHTNING_WIDTH
    bolt = coverage(distance * grid.shape[-1])
    glow = _SKY_GLOW + (1 - _SKY_GLOW) * torch.maximum(bolt, 0.6 * torch.exp(-distance / 0.05))
    return paint(images, LIGHTNING_COLOUR, flash[:, None, None] * glow)


def paint(images: Tensor, colour: tuple[float, float, float], share: Tensor) -> Tensor:
    """Images (3 … h w) under a layer of a colour whose opacity is `share`, (… h w)."""
    layer = torch.tensor(colour).view(3, *[1] * share.ndim)
    return torch.lerp(images, layer, share)


def _pattern(background: Background, x: Tensor, y: Tensor) -> Tensor:
    """Share of the second tone, (f h w), 0 to 1."""
    cos, sin = math.cos(background.angle), math.sin(background.angle)
    frequency = 2 * math.pi / background.wavelength
    u, v = frequency * (cos * x + sin * y), frequency * (cos * y - sin * x)
    a, b, c, d = background.phases
    if background.texture == "gradient":
        # The fine part lets eyes tell a zoom from a shape that grows.
        fine = torch.sin(3 * u + c) * torch.sin(3 * v + d)
        return 0.5 + 0.2 * torch.sin(u + a) + 0.1 * torch.sin(v + b) + 0.2 * fine
    if background.texture == "clouds":
        return 0.5 + 0.25 * (
            torch.sin(u + a + 1.2 * torch.sin(0.7 * v + c))
            + torch.sin(0.8 * v + b + 1.2 * torch.sin(0.6 * u + d))
        )
    if background.texture == "checks":
        return 0.5 + 0.5 * torch.tanh(3 * torch.sin(u + a) * torch.sin(v + b))
    return torch.sigmoid(4 * (torch.sin(u + a) + torch.sin(v + b) - 0.7))
