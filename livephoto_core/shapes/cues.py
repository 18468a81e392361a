"""One picture that carries a cue of the motion, so that a text-to-image base can learn its words.

A base trained on crisp frames alone has no picture that "moving left" fits better than "growing",
and motion modules on top of a frozen base then find nothing in its text features to go by. Photos
carry motion blur; these pictures carry trails that fade behind the shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .backgrounds import draw_background, paint
from .motion_paths import Poses, poses_at
from .rendering import (
    WHITE,
    checked_grid,
    draw_second_shape,
    draw_shape,
    draw_surroundings,
)
from .scene import (
    CAMERA_MOTIONS,
    COLOURS,
    SECOND_SHAPE_RADIUS,
    WAVE_PERIOD_FRAMES,
    Scene,
    max_speed_px,
    with_motion,
)
from .silhouettes import local_coordinates, shape_distance

_MIN_AMOUNT = 0.6
_NUM_GHOSTS = 10
_TRAIL_FRAMES = {"turn": 5.0, "grow": 12.0, "shrink": 12.0, "zoom": 12.0, "move": 9.0, "pan": 9.0}
_OPACITIES = (0.04, 0.55)
_GLOW_OPACITY, _GLOW_WIDTH = 0.8, 0.4
_STREAK_OPACITY = 0.5
_NUM_STREAKS = 16
_STREAKS_PER_FRAME = 2
_ARC_OPACITY, _ARC_RADIUS, _ARC_WIDTH = 0.8, 1.6, 0.45
_GOLDEN_RATIO = 0.618  # spreads the starts of neighbouring streaks evenly


def render_cue(scene: Scene, size_px: int = 128) -> Tensor:
    """A picture of a scene in which its motion can be seen.

    Moves leave a trail that fades behind the shape, turns a trail of the white spot and an arc on
    the side where the top of the shape turns to; waves a shadow on either side; what shrinks has a
    fading halo of its former sizes, what grows a light rim as wide as its growth; camera motions
    also blur and streak the background; what is conjured glows. Stillness is crisp. Slow scenes get
    the cue of a speed of 0.6 of the highest, lest their words mean nothing.

    Args:
        scene: What happens.
        size_px: Height and width.
    Returns:
        (h w 3), float32, 0 to 1.
    Raises:
        ValueError: If the size is below 16 px.
    """
    scene, grid = _with_visible_speed(scene), checked_grid(size_px)
    now, past = _moments(scene)
    image = _draw_blurred_surroundings(scene, grid, now, past)
    image = _draw_trail(image, scene, grid, past)
    body, spot = draw_shape(scene, grid, now)
    image = paint(image, COLOURS[scene.colour], body[0])
    image = _draw_inner_marks(image, scene, grid, now=now, past=past)
    return paint(image, WHITE, spot[0]).permute(1, 2, 0).contiguous().clamp_(0, 1)


def _with_visible_speed(scene: Scene) -> Scene:
    highest = max_speed_px(scene, scene.motion)
    if scene.speed_px >= _MIN_AMOUNT * highest:
        return scene
    return with_motion(scene, scene.motion, _MIN_AMOUNT)


def _moments(scene: Scene) -> tuple[Poses, Poses]:
    """The moment shown, one pose, and those of its trail from the oldest on."""
    if scene.motion == "wave":
        sides = torch.tensor([1 / 4, 3 / 4]) * WAVE_PERIOD_FRAMES
        return poses_at(scene, torch.zeros(1)), poses_at(scene, sides)
    if scene.motion == "lightning":
        moment = torch.tensor([float(scene.onset_frame)])
        return poses_at(scene, moment), poses_at(scene, moment[:0])
    frames = _TRAIL_FRAMES.get(scene.motion.split("_")[0], 0.0)
    now = poses_at(scene, torch.tensor([frames]))
    times = torch.linspace(0, frames, _NUM_GHOSTS + 1)[:-1] if frames else torch.zeros(0)
    return now, poses_at(scene, times)


def _draw_blurred_surroundings(scene: Scene, grid: Tensor, now: Poses, past: Poses) -> Tensor:
    """(3 h w)."""
    if scene.motion in CAMERA_MOTIONS:
        blurred = draw_background(scene.background, grid, past).mean(dim=1)
        return paint(blurred, WHITE, _STREAK_OPACITY * _streaks(scene.motion, grid))
    if scene.motion == "appear":
        return _draw_second_shape(draw_background(scene.background, grid, now)[:, 0], scene, grid)
    return draw_surroundings(scene, grid, now)[:, 0]


def _streaks(motion: str, grid: Tensor) -> Tensor:
    """Lines along which the camera's picture flows, brightest ahead, (h w), 0 to 1.

    Blur alone is hardly seen on a soft background, and then a pan looks like a move.
    """
    x, y = grid - 0.5
    if motion.startswith("pan_"):
        along, across = (x if motion == "pan_left" else -x), _NUM_STREAKS / 2 * (y + 0.5)
    else:
        distance = torch.hypot(x, y)
        along = distance if motion == "zoom_in" else -distance
        across = _NUM_STREAKS * (torch.atan2(y, x) / (2 * math.pi) + 0.5)
    line = (1 - 4 * (across % 1 - 0.5).abs()).clamp(min=0)
    return line * ((_STREAKS_PER_FRAME * along + _GOLDEN_RATIO * across.floor()) % 1)


def _draw_second_shape(image: Tensor, scene: Scene, grid: Tensor) -> Tensor:
    centre, radius = torch.tensor([scene.conjured_at]), torch.tensor([SECOND_SHAPE_RADIUS])
    x, y = local_coordinates(grid, centre=centre, radius=radius, angle=torch.zeros(1))
    outside = shape_distance(scene.shape, x, y)[0].clamp(min=0)
    image = paint(image, WHITE, _GLOW_OPACITY * torch.exp(-outside / _GLOW_WIDTH))
    body, spot = draw_second_shape(scene, grid, radius)
    return paint(paint(image, COLOURS[scene.colour], body[0]), WHITE, spot[0])


def _draw_trail(image: Tensor, scene: Scene, grid: Tensor, past: Poses) -> Tensor:
    """What the shape leaves outside its present outline."""
    bodies, _ = draw_shape(scene, grid, past)
    for body, opacity in zip(bodies, _fading(len(bodies)), strict=True):
        image = paint(image, COLOURS[scene.colour], opacity * body)
    if scene.motion.startswith("turn_"):
        image = paint(image, WHITE, _ARC_OPACITY * _arc(grid, past))
    return image


def _arc(grid: Tensor, past: Poses) -> Tensor:
    """An arc beside a turning shape, on the side where its top turns to, (h w), 0 to 1.

    In high noise, where small latents get their layout, only what is the same in all pictures of a
    sentence can be learnt. The way of the spot is not, nor an arc that turns with the shape: with
    either, the words for both senses came to mean the same.
    """
    x, y = (
        part[-1]
        for part in local_coordinates(
            grid, centre=past.centre, radius=past.radius, angle=torch.zeros_like(past.angle)
        )
    )
    distance = torch.hypot(x, y)
    ring = (1 - (distance - _ARC_RADIUS).abs() / _ARC_WIDTH).clamp(min=0)
    side = x if past.angle[-1] > past.angle[0] else -x
    return ring * (side / distance.clamp(min=_ARC_RADIUS / 2)).clamp(min=0)


def _draw_inner_marks(
    image: Tensor, scene: Scene, grid: Tensor, *, now: Poses, past: Poses
) -> Tensor:
    """What can be seen of the past within the present outline: the spot's way, or the growth."""
    if scene.motion in ("grow", "zoom_in"):
        x, y = local_coordinates(grid, centre=now.centre, radius=now.radius, angle=now.angle)
        depth = -shape_distance(scene.shape, x, y)[0]
        growth = 1 - past.radius[0] / now.radius[0]
        rim = _OPACITIES[1] * (1 - depth / growth).clamp(0, 1) * draw_shape(scene, grid, now)[0][0]
        return paint(image, WHITE, rim)
    if scene.motion.startswith("turn_"):
        _, spots = draw_shape(scene, grid, past)
        for spot, opacity in zip(spots, _fading(len(spots)), strict=True):
            image = paint(image, WHITE, opacity * spot)
    return image


def _fading(count: int) -> list[float]:
    if count == 2:  # both sides of a wave
        return [0.4, 0.4]
    return torch.linspace(*_OPACITIES, count).tolist()
