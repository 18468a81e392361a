"""What a clip of the synthetic world shows: one shape, one colour, one background, one motion."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "heart")

COLOURS = MappingProxyType(
    {
        "red": (0.90, 0.12, 0.12),
        "orange": (1.00, 0.55, 0.05),
        "yellow": (0.98, 0.90, 0.10),
        "green": (0.10, 0.65, 0.20),
        "cyan": (0.10, 0.80, 0.85),
        "blue": (0.12, 0.25, 0.90),
        "purple": (0.55, 0.15, 0.75),
        "pink": (1.00, 0.45, 0.75),
    }
)
"""RGB, 0 to 1. All are saturated where the backgrounds are muted, so closed forms can part them."""

TEXTURES = ("gradient", "clouds", "checks", "dots")
"""All vary in both directions: a pan along stripes could not be told from a move."""

ACTIONS = (
    "move_left",
    "move_right",
    "move_up",
    "move_down",
    "turn_clockwise",
    "turn_counterclockwise",
    "grow",
    "shrink",
    "wave",
)
CAMERA_MOTIONS = ("pan_left", "pan_right", "zoom_in", "zoom_out")
CONJURING = ("appear", "lightning")
MOTIONS = (*ACTIONS, *CAMERA_MOTIONS, *CONJURING, "still")

BASE_SIZE_PX = 128
"""The size in whose pixels speeds are given, whatever size is rendered."""

NUM_FRAMES = 16
"""Length for which speeds are bounded so that the shape stays in the frame."""

REACH = 1.1
"""No shape extends further from its centre than this many radii."""

WAVE_PERIOD_FRAMES = 8.0
SECOND_SHAPE_RADIUS = 0.1
"""Radius to which a conjured shape grows, as a fraction of the frame."""

AMOUNTS = (0.02, 1.0)
"""Range of speeds in training, as fractions of the highest: from almost still to wild."""

EVALUATION_AMOUNTS = (0.4, 1.0)
"""Range for measuring whether motion matches the text: all of it is above the tracker's limits."""

_TRAVEL_FRAMES = NUM_FRAMES - 1
_MARGIN = 0.02
# At 64 px a shape is then three cells of an 8 times smaller latent wide, and what has shrunk two:
# smaller ones an autoencoder does not bring back as what they were.
_RADII = (0.17, 0.20)
_CORNER = 0.14
_MAX_TURN = math.radians(24)
_MAX_WAVE = math.radians(35)
_MAX_GROWTH = 2.0
_MIN_SHRINKAGE = 0.6
_MAX_APPEAR_SPEED_PX = 6.4
_MAX_LIGHTNING_SPEED_PX = 8.0


@dataclass(frozen=True)
class Background:
    """A gradient or soft texture between two muted tones.

    Attributes:
        texture: One of `TEXTURES`.
        tones: The two RGB tones, 0 to 1, low in saturation.
        angle: Direction of the pattern, radians.
        wavelength: Its period, fractions of the frame.
        phases: Its four offsets, radians.
    """

    texture: str
    tones: tuple[tuple[float, float, float], tuple[float, float, float]]
    angle: float
    wavelength: float
    phases: tuple[float, float, float, float]


@dataclass(frozen=True)
class Scene:
    """All that decides a clip. Lengths are fractions of the frame, y points down.

    Only `motion`, `speed_px` and `onset_frame` shape what happens after the first frame, and
    sampling draws the rest without looking at them: a first frame tells nothing of what comes.

    Attributes:
        shape: One of `SHAPES`, upright at first, with a white spot near its top: every shape,
            circles included, can be seen to turn.
        colour: One of `COLOURS`.
        background: What is behind the shape.
        centre: Where the shape is in the first frame, (x, y).
        radius: Its first radius.
        motion: One of `MOTIONS`.
        speed_px: Continuous speed in px per frame at 128 px. Of the centre for moves, pans and
            waves (there the highest); of the rim for turns, growth and zooms; of the second shape's
            rim where one appears; the strength of the flash on the same scale for lightning.
        onset_frame: First frame that shows what is conjured.
        conjured_at: Centre of the second shape, or the end of the lightning, (x, y).
    """

    shape: str
    colour: str
    background: Background
    centre: tuple[float, float]
    radius: float
    motion: str
    speed_px: float
    onset_frame: int
    conjured_at: tuple[float, float]

    def __post_init__(self) -> None:
        check_known("shape", self.shape, SHAPES)
        check_known("colour", self.colour, tuple(COLOURS))
        check_known("motion", self.motion, MOTIONS)
        check_known("background.texture", self.background.texture, TEXTURES)


def sample_scene(
    seed: int,
    index: int,
    *,
    shapes: Sequence[str] = SHAPES,
    colours: Sequence[str] = tuple(COLOURS),
    motions: Sequence[str] = MOTIONS,
    amounts: tuple[float, float] = AMOUNTS,
) -> Scene:
    """The scene with this number in the stream of this seed.

    Depends on nothing but the arguments: not on the order of calls, nor on the process. The lists
    of choices change only what is chosen from them.

    Args:
        seed: Names the stream, 0 or more.
        index: Number of the scene in it, 0 or more.
        shapes: Names to choose from, all equally likely.
        colours: Names to choose from.
        motions: Names to choose from.
        amounts: Lowest and highest speed, as fractions of the scene's `max_speed_px`.
    Raises:
        ValueError: If a name is unknown, or `seed` or `index` is negative.
    """
    rng = _generator(seed, index)
    picks = rng.random(3)
    centre = (0.5 + rng.uniform(-0.08, 0.08), 0.5 + rng.uniform(-0.08, 0.08))
    radius, amount = rng.uniform(*_RADII), rng.uniform(*amounts)
    still = Scene(
        shape=_pick(shapes, picks[0]),
        colour=_pick(colours, picks[1]),
        background=_sample_background(rng),
        centre=centre,
        radius=radius,
        motion="still",
        speed_px=0.0,
        onset_frame=int(rng.integers(2, 5)),
        conjured_at=_pick(_free_corners(centre), rng.random()),
    )
    return with_motion(still, _pick(motions, picks[2]), amount)


def with_motion(scene: Scene, motion: str, amount: float) -> Scene:
    """The same first frame with another motion.

    Args:
        scene: Where it starts.
        motion: One of `MOTIONS`.
        amount: Speed as a fraction of the highest, 0 to 1.
    Raises:
        ValueError: If the motion is unknown or the amount out of range.
    """
    if not 0 <= amount <= 1:
        raise ValueError(f"amount must be from 0 to 1, a share of the highest speed, got {amount}.")
    speed_px = amount * max_speed_px(scene, motion)
    return dataclasses.replace(scene, motion=motion, speed_px=speed_px)


def max_speed_px(scene: Scene, motion: str) -> float:
    """The highest speed of a motion from this first frame, in px per frame at 128 px.

    Moves, pans, growth and zooms end at the edge of the frame after 16 frames (growth and zooms at
    factor 2 or 0.6 at most); turns end after a full round, and waves lean 35° to each side.

    Raises:
        ValueError: If the motion is unknown.
    """
    check_known("motion", motion, MOTIONS)
    radius_px = scene.radius * BASE_SIZE_PX
    if motion in CONJURING:
        return _MAX_APPEAR_SPEED_PX if motion == "appear" else _MAX_LIGHTNING_SPEED_PX
    if motion.startswith("turn_"):
        return _MAX_TURN * radius_px
    if motion == "wave":
        return _MAX_WAVE * 2 * math.pi / WAVE_PERIOD_FRAMES * radius_px
    if motion in ("grow", "shrink", "zoom_in", "zoom_out"):
        return abs(_furthest_factor(scene, motion) - 1) * radius_px / _TRAVEL_FRAMES
    return _free_way(scene, motion) * BASE_SIZE_PX / _TRAVEL_FRAMES


def _free_way(scene: Scene, motion: str) -> float:
    (x, y), reach = scene.centre, REACH * scene.radius + _MARGIN
    if motion in ("move_left", "pan_right"):
        return x - reach
    if motion in ("move_right", "pan_left"):
        return 1 - x - reach
    if motion == "move_up":
        return y - reach
    return 1 - y - reach if motion == "move_down" else 0.0


def _furthest_factor(scene: Scene, motion: str) -> float:
    if motion in ("shrink", "zoom_out"):
        return _MIN_SHRINKAGE
    off_centre = max(abs(c - 0.5) for c in scene.centre)
    reach = REACH * scene.radius
    if motion == "grow":
        return min(_MAX_GROWTH, (0.5 - _MARGIN - off_centre) / reach)
    return min(_MAX_GROWTH, (0.5 - _MARGIN) / (off_centre + reach))


def _sample_background(rng: np.random.Generator) -> Background:
    texture = _pick(TEXTURES, rng.random())
    dark = rng.uniform(0.18, 0.32)
    greys = (dark, dark + rng.uniform(0.16, 0.26))
    wavelength = rng.uniform(0.9, 1.3) if texture == "gradient" else rng.uniform(0.3, 0.45)
    a, b, c, d = rng.uniform(0, 2 * math.pi, size=4).tolist()
    return Background(
        texture=texture,
        tones=(_tinted(greys[0], rng), _tinted(greys[1], rng)),
        angle=rng.uniform(0, math.pi),
        wavelength=wavelength,
        phases=(a, b, c, d),
    )


def _tinted(grey: float, rng: np.random.Generator) -> tuple[float, float, float]:
    tint = rng.uniform(-0.04, 0.04, size=3)
    red, green, blue = (grey + tint - tint.mean()).tolist()
    return red, green, blue


def _free_corners(centre: tuple[float, float]) -> list[tuple[float, float]]:
    # 0.45 leaves the largest shape and the second one a gap that the tracker can see.
    corners = [(x, y) for x in (_CORNER, 1 - _CORNER) for y in (_CORNER, 1 - _CORNER)]
    return [corner for corner in corners if math.dist(corner, centre) > 0.45]


def _generator(seed: int, index: int) -> np.random.Generator:
    for name, value in (("seed", seed), ("index", index)):
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, got {value}.")
    return np.random.default_rng((seed, index))


def _pick(choices: Sequence, share: float):
    return choices[int(share * len(choices))]


def check_known(name: str, value: str, known: Sequence[str]) -> None:
    """Raises ValueError naming the argument unless its value is one of the known ones."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}.")
