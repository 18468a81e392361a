"""Which combinations of shape, colour and motion training never sees, and scenes of either side."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from .scene import AMOUNTS, COLOURS, EVALUATION_AMOUNTS, MOTIONS, SHAPES, Scene, sample_scene

_COLOUR_NAMES = tuple(COLOURS)
_EVALUATION_STREAM = 2**31  # first frames of an evaluation must not be those of a training either
_NUM_DIGESTED = 64
_SHAPE_STRIDE = 3  # prime to the eight colours: no colour loses two shapes for the same motion


def is_held_out(scene: Scene) -> bool:
    """Whether the scene's shape, colour and motion are never seen together in training.

    One colour of eight is held out for each pair of shape and motion: an eighth of all
    combinations. So each pair is seen in training with the seven other colours, and no shape,
    colour or motion is rarer there than another.
    """
    return scene.colour == held_out_colour(scene.shape, scene.motion)


def held_out_colour(shape: str, motion: str) -> str:
    """The colour in which training never shows this shape with this motion."""
    number = _SHAPE_STRIDE * SHAPES.index(shape) + MOTIONS.index(motion)
    return _COLOUR_NAMES[number % len(_COLOUR_NAMES)]


def held_out_combinations() -> tuple[tuple[str, str, str], ...]:
    """All (shape, colour, motion) that training never sees."""
    return tuple((s, held_out_colour(s, m), m) for s in SHAPES for m in MOTIONS)


def sample_training_scene(
    seed: int,
    index: int,
    *,
    motions: Sequence[str] = MOTIONS,
    amounts: tuple[float, float] = AMOUNTS,
) -> Scene:
    """A scene whose combination is not held out.

    Args:
        seed: Names the stream, 0 or more.
        index: Number of the scene in it, 0 or more.
        motions: Motions to choose from.
        amounts: Lowest and highest speed, as fractions of the scene's highest.
    """
    free = sample_scene(seed, index, motions=motions, amounts=amounts)
    left_out = held_out_colour(free.shape, free.motion)
    colours = [name for name in _COLOUR_NAMES if name != left_out]
    return sample_scene(seed, index, colours=colours, motions=motions, amounts=amounts)


def sample_evaluation_scene(
    seed: int,
    index: int,
    *,
    motions: Sequence[str] = MOTIONS,
    amounts: tuple[float, float] = EVALUATION_AMOUNTS,
) -> Scene:
    """A scene whose combination is held out, fast enough for its motion to be measured.

    Its place, size and background too are in no training of the same seed.
    """
    stream = _EVALUATION_STREAM + seed
    free = sample_scene(stream, index, motions=motions, amounts=amounts)
    colours = [held_out_colour(free.shape, free.motion)]
    return sample_scene(stream, index, colours=colours, motions=motions, amounts=amounts)


def world_digest() -> str:
    """Tells versions of the world apart, as far as they draw other scenes.

    What was encoded from numbered scenes belongs to the world that drew them: captions and pictures
    are made again wherever they are read. How a scene is rendered is not part of it.
    """
    scenes = [str(sample_training_scene(0, index)) for index in range(_NUM_DIGESTED)]
    return hashlib.sha256("\n".join(scenes).encode()).hexdigest()
