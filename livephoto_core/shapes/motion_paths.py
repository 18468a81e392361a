"""Where everything is at a time: the closed form of each motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .scene import (
    BASE_SIZE_PX,
    CAMERA_MOTIONS,
    SECOND_SHAPE_RADIUS,
    WAVE_PERIOD_FRAMES,
    Scene,
    max_speed_px,
)

_FLASH_PERIOD_FRAMES = 5
_FLASH_FADING = (1.0, 0.7, 0.35, 0.1, 0.0)


@dataclass(frozen=True)
class Poses:
    """The state of a clip at f times. Lengths are fractions of the frame, y points down.

    Attributes:
        centre: Of the shape on the screen, (f, 2).
        radius: Of the shape, (f,).
        angle: Of the shape, radians clockwise from upright, (f,).
        shift: How far the camera has moved the background, (f, 2).
        zoom: Magnification of the background about the frame's centre, (f,).
        second_radius: Of the conjured shape, (f,), 0 while there is none.
        flash: Strength of the lightning, (f,), 0 to 1.
    """

    centre: Tensor
    radius: Tensor
    angle: Tensor
    shift: Tensor
    zoom: Tensor
    second_radius: Tensor
    flash: Tensor


def poses_at(scene: Scene, times: Tensor) -> Poses:
    """The state of a scene at some times.

    Args:
        scene: What happens.
        times: Frames since the first, (f,), whole or between frames.
    """
    way = scene.speed_px / BASE_SIZE_PX * times
    shift, zoom = _camera(scene, way)
    offset, factor, angle = _action(scene, times, way)
    centre = torch.tensor(scene.centre)
    return Poses(
        centre=0.5 + (centre + offset - 0.5) * zoom[:, None] + shift,
        radius=scene.radius * factor * zoom,
        angle=angle,
        shift=shift,
        zoom=zoom,
        second_radius=_second_radius(scene, times),
        flash=_flash(scene, times),
    )


def _camera(scene: Scene, way: Tensor) -> tuple[Tensor, Tensor]:
    shift, zoom = torch.zeros(len(way), 2), torch.ones_like(way)
    if scene.motion not in CAMERA_MOTIONS:
        return shift, zoom
    if scene.motion.startswith("zoom_"):
        sign = 1 if scene.motion == "zoom_in" else -1
        return shift, 1 + sign * way / scene.radius
    # What a camera sees goes the other way.
    shift[:, 0] = way if scene.motion == "pan_left" else -way
    return shift, zoom


def _action(scene: Scene, times: Tensor, way: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Offset of the centre (f, 2), factor of the radius (f,), angle (f,)."""
    offset, factor, angle = torch.zeros(len(way), 2), torch.ones_like(way), torch.zeros_like(way)
    if scene.motion.startswith("move_"):
        axis = 0 if scene.motion in ("move_left", "move_right") else 1
        offset[:, axis] = way if scene.motion in ("move_right", "move_down") else -way
    elif scene.motion.startswith("turn_"):
        angle = way / scene.radius * (1 if scene.motion == "turn_clockwise" else -1)
    elif scene.motion in ("grow", "shrink"):
        factor = 1 + way / scene.radius * (1 if scene.motion == "grow" else -1)
    elif scene.motion == "wave":
        angle = wave_amplitude(scene) * torch.sin(2 * math.pi * times / WAVE_PERIOD_FRAMES)
        # It rocks on its foot, as a hand waves from the wrist.
        offset = scene.radius * torch.stack([torch.sin(angle), 1 - torch.cos(angle)], dim=1)
    return offset, factor, angle


def wave_amplitude(scene: Scene) -> float:
    """How far a waving shape leans to each side, radians."""
    frequency = 2 * math.pi / WAVE_PERIOD_FRAMES
    return scene.speed_px / BASE_SIZE_PX / (scene.radius * frequency)


def _second_radius(scene: Scene, times: Tensor) -> Tensor:
    if scene.motion != "appear":
        return torch.zeros_like(times)
    grown = scene.speed_px / BASE_SIZE_PX * (times - scene.onset_frame + 1)
    return grown.clamp(0, SECOND_SHAPE_RADIUS)


def _flash(scene: Scene, times: Tensor) -> Tensor:
    if scene.motion != "lightning":
        return torch.zeros_like(times)
    strength = scene.speed_px / max_speed_px(scene, "lightning")
    since_strike = (times.long() - scene.onset_frame) % _FLASH_PERIOD_FRAMES
    fading = torch.tensor(_FLASH_FADING)[since_strike]
    return strength * torch.where(times >= scene.onset_frame, fading, 0.0)
