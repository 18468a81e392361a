"""What a clip shows, measured in closed form: its motion, and whether the shape stays itself."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from .registration import register_background, smooth
from .rendering import render_clip
from .scene import BASE_SIZE_PX, COLOURS, SHAPES, WAVE_PERIOD_FRAMES, Background, Scene
from .segmentation import (
    NUM_ANGLES,
    Layers,
    ShapeTrack,
    angular_correlation,
    find_layers,
    follow_shape,
    polar_views,
)

WORKING_SIZE_PX = 64
"""Motion is measured at this size, to which larger clips are reduced."""

LIMITS = MappingProxyType(
    {
        "move": 4.0 / BASE_SIZE_PX,
        "turn": math.radians(40),
        "wave": math.radians(6),
        "size": 0.1,
        "pan": 4.0 / BASE_SIZE_PX,
        "zoom": 0.1,
        "second_area": 0.004,
        "flash": 0.04,
    }
)
"""What a clip must reach from its first to its last frame not to count as still: way of the shape
(fractions of the frame, against the background), turn and lean of a wave (radians), growth (change
of the logarithm of the size), the same for the camera, the area of a second shape (share of the
frame), and the highest rise of brightness from one frame to the next. All of
`EVALUATION_AMOUNTS` is above them."""

_MIN_FRAMES = 6
_FOREGROUND = 0.25
_FOREGROUND_RIM_PX = 2


@dataclass(frozen=True)
class Tracks:
    """What moves in a clip of f frames. Lengths are fractions of the frame, y points down.

    Attributes:
        offset: Of the shape against the background, (f, 2), 0 at first.
        log_size: Of the shape against the background, natural logarithm, (f,), 0 at first.
        angle: Of the shape, radians clockwise, (f,), 0 at first, not wrapped.
        shift: Of the background, (f, 2), 0 at first.
        log_zoom: Of the background, natural logarithm, (f,), 0 at first.
        second_area: Of what is coloured beside the shape, (f,), share of the frame.
        brightness: Of the background, (f,), 0 to 1.
    """

    offset: Tensor
    log_size: Tensor
    angle: Tensor
    shift: Tensor
    log_zoom: Tensor
    second_area: Tensor
    brightness: Tensor


def classify_motion(frames: Tensor) -> str:
    """The motion that a clip shows.

    What is conjured counts first; then the motion that is the most above its limit.

    Args:
        frames: (f h w 3), 0 to 1, at least 6 square frames.
    Returns:
        One of `scene.MOTIONS`; "still" if no motion reaches `LIMITS`.
    Raises:
        ValueError: If the frames are of another shape.
    """
    scores = motion_scores(measure_tracks(frames))
    for conjuring in ("lightning", "appear"):
        if scores[conjuring] >= 1:
            return conjuring
    motion = max(scores, key=lambda name: scores[name])
    return motion if scores[motion] >= 1 else "still"


def motion_scores(tracks: Tracks) -> dict[str, float]:
    """How far each motion is above its limit in `LIMITS`: 1 is at the limit; stillness has none."""
    way_x, way_y = (_travel(tracks.offset[:, axis]) / LIMITS["move"] for axis in (0, 1))
    turn, wave = _travel(tracks.angle) / LIMITS["turn"], _swing(tracks.angle) / LIMITS["wave"]
    size, zoom = _travel(tracks.log_size) / LIMITS["size"], _travel(tracks.log_zoom)
    shift, zoom = _travel(tracks.shift[:, 0]) / LIMITS["pan"], zoom / LIMITS["zoom"]
    second = tracks.second_area[-4:].mean() - tracks.second_area[0]
    return {
        "move_left": -way_x,
        "move_right": way_x,
        "move_up": -way_y,
        "move_down": way_y,
        "turn_clockwise": turn,
        "turn_counterclockwise": -turn,
        "grow": size,
        "shrink": -size,
        "wave": wave,
        "pan_left": shift,
        "pan_right": -shift,
        "zoom_in": zoom,
        "zoom_out": -zoom,
        "appear": second.item() / LIMITS["second_area"],
        "lightning": tracks.brightness.diff().max().item() / LIMITS["flash"],
    }


def measure_tracks(frames: Tensor) -> Tracks:
    """The tracks of a clip; arguments as for `classify_motion`."""
    frames = _reduced(_checked(frames))
    layers = find_layers(frames)
    shape, foreground = follow_shape(layers), _foreground(layers)
    brightness = frames.mean(dim=-1)
    shift, log_zoom = register_background(brightness, foreground)
    carried = 0.5 + (shape.centre[0] - 0.5) * log_zoom.exp()[:, None] + shift
    return Tracks(
        offset=shape.centre - carried,
        log_size=(shape.radius / shape.radius[0]).log() - log_zoom,
        angle=_follow_angle(layers, shape),
        shift=shift,
        log_zoom=log_zoom,
        second_area=shape.other_area,
        brightness=_mean_where(brightness, ~foreground),
    )


def seen_colour(image: Tensor) -> str:
    """The name of the colour next to that of the shape in a picture, (h w 3), 0 to 1."""
    layers = find_layers(image[None])
    pixels = image[layers.coloured[0] >= min(1.0, layers.coloured.max().item())]
    seen = pixels.median(dim=0).values
    return min(COLOURS, key=lambda name: (seen - torch.tensor(COLOURS[name])).norm().item())


def seen_shape(image: Tensor) -> str:
    """The name of the shape in a picture, (h w 3), 0 to 1, by its outline at any angle."""
    layers = find_layers(image[None])
    track = follow_shape(layers)
    views = polar_views(layers, track)[0]
    # Rendered as small as the shape is seen, crisp and blurred: at few pixels, stars look rounder.
    size_px, radius = image.shape[0], round(float(track.radius[0]), 2)
    likeness = {
        (name, blurred): _likeness(views, _template(name, radius, size_px, blurred))
        for name in SHAPES
        for blurred in (False, True)
    }
    return max(likeness, key=lambda key: likeness[key])[0]


def first_frame_psnr(frames: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio of the first frame against a picture, dB; infinite if equal.

    Args:
        frames: (f h w 3), 0 to 1.
        reference: (h w 3), 0 to 1.
    Raises:
        ValueError: If the sizes differ.
    """
    if frames.shape[1:] != reference.shape:
        raise ValueError(
            f"reference must have the size of a frame, {tuple(frames.shape[1:])}, "
            f"got {tuple(reference.shape)}."
        )
    error = F.mse_loss(frames[0].double(), reference.double()).item()
    return math.inf if error == 0 else -10 * math.log10(error)


def _follow_angle(layers: Layers, shape: ShapeTrack) -> Tensor:
    views = polar_views(layers, shape)
    views = views - views.mean(dim=-1, keepdim=True)
    correlation = angular_correlation(views, views[0])
    best = correlation.argmax(dim=1)
    around = correlation.gather(1, (best[:, None] + torch.tensor([-1, 0, 1])) % NUM_ANGLES)
    before, peak, after = around.unbind(1)
    curvature = (2 * peak - before - after).clamp(min=1e-6)
    wrapped = (best + (after - before) / (2 * curvature)) * (2 * math.pi / NUM_ANGLES)
    turns = (wrapped.diff() + math.pi) % (2 * math.pi) - math.pi
    return torch.cat([torch.zeros(1), turns.cumsum(0)])


def _travel(track: Tensor) -> float:
    """Steady change of a track from the first to the last frame."""
    return float(_fit(track)[1]) * (len(track) - 1)


def _swing(track: Tensor) -> float:
    """Amplitude with which a track swings in the period of waves."""
    return math.hypot(*_fit(track)[2:].tolist())


def _fit(track: Tensor) -> Tensor:
    """Least squares of a constant, a slope and a swing: a wave has no slope, a move no swing."""
    times = torch.arange(len(track), dtype=torch.float64)
    phase = 2 * math.pi / WAVE_PERIOD_FRAMES * times
    basis = torch.stack([torch.ones_like(times), times, phase.sin(), phase.cos()], dim=1)
    return torch.linalg.lstsq(basis, track.double()[:, None]).solution[:, 0]


def _foreground(layers: Layers) -> Tensor:
    seen = torch.maximum(layers.coloured, layers.white)[:, None]
    rim = 2 * _FOREGROUND_RIM_PX + 1
    return F.max_pool2d(seen, rim, stride=1, padding=_FOREGROUND_RIM_PX)[:, 0] > _FOREGROUND


def _mean_where(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)).clamp(min=1)


def _likeness(views: Tensor, template: Tensor) -> float:
    """Highest correlation coefficient over all angles."""
    views, template = views - views.mean(), template - template.mean()
    product = angular_correlation(views[None], template).max()
    return float(product / (views.norm() * template.norm()).clamp(min=1e-6))


@functools.lru_cache(maxsize=512)
def _template(shape: str, radius: float, size_px: int, blurred: bool) -> Tensor:
    grey = (0.35, 0.35, 0.35)
    scene = Scene(
        shape=shape,
        colour="blue",
        background=Background("gradient", (grey, grey), 0.0, 1.0, (0.0, 0.0, 0.0, 0.0)),
        centre=(0.5, 0.5),
        radius=max(radius, 0.03) / 0.8,
        motion="still",
        speed_px=0.0,
        onset_frame=1,
        conjured_at=(0.1, 0.1),
    )
    image = render_clip(scene, 1, size_px)
    layers = find_layers(smooth(image[0].movedim(-1, 0)).movedim(0, -1)[None] if blurred else image)
    return polar_views(layers, follow_shape(layers))[0]


def _reduced(frames: Tensor) -> Tensor:
    if frames.shape[1] <= WORKING_SIZE_PX:
        return frames
    size = (WORKING_SIZE_PX, WORKING_SIZE_PX)
    return F.interpolate(frames.movedim(-1, 1), size, mode="area").movedim(1, -1)


def _checked(frames: Tensor) -> Tensor:
    square = frames.ndim == 4 and frames.shape[-1] == 3 and frames.shape[1] == frames.shape[2]
    if not square or len(frames) < _MIN_FRAMES:
        raise ValueError(
            f"frames must be at least {_MIN_FRAMES} square frames (f h w 3), "
            f"got {tuple(frames.shape)}."
        )
    return frames.detach().to("cpu", torch.float32).clamp(0, 1)
