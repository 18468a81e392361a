"""Sentences about a scene: what it shows, how it moves, both, or something else than it shows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np

from .scene import COLOURS, MOTIONS, SHAPES, Scene

_BACKGROUND_NOUNS = MappingProxyType(
    {"gradient": "a soft gradient", "clouds": "clouds", "checks": "checks", "dots": "dots"}
)

_CONTENT_WORDINGS = (
    "{a} {colour} {shape}",
    "the {colour} {shape}",
    "one {colour} {shape}",
    "a {shape} in {colour}",
    "{a} {colour} {shape} on {ground}",
    "the {colour} {shape} in front of {ground}",
)

_DIRECTIONS = ("left", "right", "up", "down")


def _direction_wordings(direction: str) -> tuple[str, ...]:
    wordings = (f"moves {direction}", f"moving {direction}", f"is moving {direction}")
    if direction in ("left", "right"):
        return (*wordings, f"moves to the {direction}", f"slides {direction}", f"goes {direction}")
    return (*wordings, f"goes {direction}", "rises" if direction == "up" else "sinks")


def _turn_wordings(sense: str) -> tuple[str, ...]:
    verbs = ("turns", "turning", "is turning", "rotates", "rotating", "spins")
    return tuple(f"{verb} {sense}" for verb in verbs)


# Each follows a subject ("a red circle", "it"), as in "a red circle moving left".
_ACTION_WORDINGS = MappingProxyType(
    {
        **{f"move_{direction}": _direction_wordings(direction) for direction in _DIRECTIONS},
        "turn_clockwise": _turn_wordings("clockwise"),
        "turn_counterclockwise": _turn_wordings("counterclockwise"),
        "grow": ("grows", "growing", "is growing", "gets bigger", "grows bigger"),
        "shrink": ("shrinks", "shrinking", "is shrinking", "gets smaller"),
        "wave": ("waves", "waving", "is waving"),
        "still": ("stays still", "is still", "standing still", "does not move"),
    }
)

# Each is a sentence of its own, as in "a red circle, the camera pans left".
_EVENT_WORDINGS = MappingProxyType(
    {
        **{
            f"pan_{side}": (
                f"the camera pans {side}",
                f"the camera is panning {side}",
                f"camera pans to the {side}",
            )
            for side in ("left", "right")
        },
        **{
            f"zoom_{way}": (
                f"the camera zooms {way}",
                f"the camera is zooming {way}",
                f"camera zooms {way}",
            )
            for way in ("in", "out")
        },
        "appear": ("a second one appears", "another one appears", "another one appearing"),
        "lightning": ("lightning flashes", "lightning strikes", "flashes of lightning"),
    }
)


def _words_of(*tables: Sequence[str]) -> frozenset[str]:
    return frozenset(word for wordings in tables for caption in wordings for word in words(caption))


def words(caption: str) -> list[str]:
    """The words of a caption, in order, lower case, without punctuation."""
    return re.findall(r"[a-z]+", caption.lower())


WordKind = Literal["motion", "content", "function"]

_FUNCTION_WORDS = frozenset(words("a an the one is it of to on in does not front soft shape"))

MOTION_WORDS = _words_of(*_ACTION_WORDINGS.values(), *_EVENT_WORDINGS.values()) - _FUNCTION_WORDS
"""Words that tell motions apart, wherever they stand: not `in`, see `word_kinds`."""

CONTENT_WORDS = frozenset((*SHAPES, *COLOURS, "gradient", "clouds", "checks", "dots"))
"""Words that tell what is seen."""

VOCABULARY = MOTION_WORDS | CONTENT_WORDS | _FUNCTION_WORDS
"""Every word that a caption may hold."""


def word_kinds(caption_words: Sequence[str]) -> list[WordKind]:
    """What each word of a caption tells: motion, what is seen, or neither.

    "in" joins content ("a circle in red") but for right after a word of zooming.

    Args:
        caption_words: In order, lower case.
    """
    before = ("", *caption_words)
    return [_word_kind(word, last) for last, word in zip(before, caption_words, strict=False)]


def _word_kind(word: str, last: str) -> WordKind:
    if word in MOTION_WORDS or (word == "in" and last in ("zooms", "zooming")):
        return "motion"
    return "content" if word in CONTENT_WORDS else "function"


def full_caption(scene: Scene, seed: int) -> str:
    """What is seen and how it moves, such as "a red circle on dots moving left".

    Args:
        scene: What happens.
        seed: Picks the wording, 0 or more.
    """
    rng = np.random.default_rng(seed)
    return _join(_content(scene, rng), scene.motion, _pick(motion_wordings(scene.motion), rng))


def content_caption(scene: Scene, seed: int) -> str:
    """What is seen, and nothing about motion."""
    return _content(scene, np.random.default_rng(seed))


def motion_caption(scene: Scene, seed: int) -> str:
    """How it moves, and nothing about colour or shape."""
    rng = np.random.default_rng(seed)
    wording = _pick(motion_wordings(scene.motion), rng)
    subject = _pick(("", "it ", "the shape "), rng)
    takes_subject = scene.motion in _ACTION_WORDINGS and not words(wording)[0].endswith("ing")
    return subject + wording if takes_subject else wording


def conflicting_caption(scene: Scene, seed: int) -> str:
    """The true motion of something else: both colour and shape differ from what is seen.

    For the paper's test (figure 6) that motion follows the text while content follows the image.
    """
    rng = np.random.default_rng(seed)
    colour = _pick([name for name in COLOURS if name != scene.colour], rng)
    shape = _pick([name for name in SHAPES if name != scene.shape], rng)
    content = _content(dataclasses.replace(scene, colour=colour, shape=shape), rng)
    return _join(content, scene.motion, _pick(motion_wordings(scene.motion), rng))


def motion_wordings(motion: str) -> tuple[str, ...]:
    """All ways to say a motion.

    Raises:
        ValueError: If it is none of `scene.MOTIONS`.
    """
    if motion not in MOTIONS:
        raise ValueError(f"motion must be one of {', '.join(MOTIONS)}, got {motion!r}.")
    return _ACTION_WORDINGS.get(motion) or _EVENT_WORDINGS[motion]


def _content(scene: Scene, rng: np.random.Generator) -> str:
    return _pick(_CONTENT_WORDINGS, rng).format(
        a="an" if scene.colour == "orange" else "a",
        colour=scene.colour,
        shape=scene.shape,
        ground=_BACKGROUND_NOUNS[scene.background.texture],
    )


def _join(content: str, motion: str, wording: str) -> str:
    return f"{content} {wording}" if motion in _ACTION_WORDINGS else f"{content}, {wording}"


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
