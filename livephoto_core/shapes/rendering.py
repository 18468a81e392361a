"""Pictures of a scene: its clip, frame by frame and crisp."""

from __future__ import annotations

import torch
from torch import Tensor

from .backgrounds import draw_background, draw_lightning, paint
from .motion_paths import Poses, poses_at
from .scene import COLOURS, NUM_FRAMES, Scene
from .silhouettes import (
    coverage,
    local_coordinates,
    pixel_grid,
    shape_distance,
    spot_distance,
)

WHITE = (1.0, 1.0, 1.0)
_MIN_SIZE_PX = 16


def render_clip(scene: Scene, num_frames: int = NUM_FRAMES, size_px: int = 128) -> Tensor:
    """The clip of a scene, anti-aliased, without motion blur.

    Args:
        scene: What happens.
        num_frames: How many frames; beyond `scene.NUM_FRAMES` the shape may leave the frame.
        size_px: Height and width.
    Returns:
        (f h w 3), float32, 0 to 1.
    Raises:
        ValueError: If there is no frame, or the size is below 16 px.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames must be 1 or more, got {num_frames}.")
    return render_moments(scene, torch.arange(num_frames, dtype=torch.float32), size_px)


def render_moments(scene: Scene, times: Tensor, size_px: int = 128) -> Tensor:
    """A scene at some times.

    Args:
        scene: What happens.
        times: Frames since the first, (f,), float32, whole or between frames.
        size_px: Height and width.
    Returns:
        (f h w 3), float32, 0 to 1.
    """
    grid, poses = checked_grid(size_px), poses_at(scene, times)
    images = draw_surroundings(scene, grid, poses)
    body, spot = draw_shape(scene, grid, poses)
    images = paint(paint(images, COLOURS[scene.colour], body), WHITE, spot)
    return images.permute(1, 2, 3, 0).contiguous().clamp_(0, 1)


def checked_grid(size_px: int) -> Tensor:
    """`pixel_grid`, refusing sizes at which a shape is a blot.

    Raises:
        ValueError: If the size is below 16 px.
    """
    if size_px < _MIN_SIZE_PX:
        raise ValueError(f"size_px must be {_MIN_SIZE_PX} or more to show a shape, got {size_px}.")
    return pixel_grid(size_px)


def draw_surroundings(scene: Scene, grid: Tensor, poses: Poses) -> Tensor:
    """Background, lightning and second shape, (3 f h w), or (3 1 h w) if they never change."""
    images = draw_background(scene.background, grid, poses)
    if scene.motion == "lightning":
        images = draw_lightning(images, grid, end=scene.conjured_at, flash=poses.flash)
    if scene.motion == "appear":
        body, spot = draw_second_shape(scene, grid, poses.second_radius)
        images = paint(paint(images, COLOURS[scene.colour], body), WHITE, spot)
    return images


def draw_shape(scene: Scene, grid: Tensor, poses: Poses) -> tuple[Tensor, Tensor]:
    """Coverage of the shape and of its white spot, two (f h w)."""
    x, y = local_coordinates(grid, centre=poses.centre, radius=poses.radius, angle=poses.angle)
    return _coverages(scene.shape, x, y, radius_px=poses.radius * grid.shape[-1])


def draw_second_shape(scene: Scene, grid: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Coverage of the conjured shape and of its spot, two (f h w); none where the radius is 0."""
    centre = torch.tensor(scene.conjured_at).expand(len(radius), 2)
    # A shape far smaller than a pixel covers nothing; its radius only has to be a divisor.
    x, y = local_coordinates(
        grid, centre=centre, radius=radius.clamp(min=1e-3), angle=torch.zeros_like(radius)
    )
    exists = (radius > 0)[:, None, None]
    body, spot = _coverages(scene.shape, x, y, radius_px=radius * grid.shape[-1])
    return body * exists, spot * exists


def _coverages(shape: str, x: Tensor, y: Tensor, *, radius_px: Tensor) -> tuple[Tensor, Tensor]:
    body = shape_distance(shape, x, y)
    scale = radius_px[:, None, None]
    return coverage(body * scale), coverage(spot_distance(shape, body, x=x, y=y) * scale)
