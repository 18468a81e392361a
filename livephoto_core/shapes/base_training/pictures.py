"""Single pictures of the synthetic world with their captions: what the base model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..captions import content_caption, full_caption, motion_caption
from ..cues import render_cue
from ..rendering import render_moments
from ..scene import MOTIONS, NUM_FRAMES, Scene, with_motion
from ..split import sample_evaluation_scene, sample_training_scene

PictureKind = Literal["crisp_content", "crisp_changed", "crisp_full", "cue_full", "cue_motion"]

_CHANGES = ("turn_clockwise", "turn_counterclockwise", "shrink", "zoom_out", "grow", "zoom_in")
_OF_FIRST_FRAMES = 0.5
_CHANGE_AMOUNTS = (0.5, 1.0)
_OTHER_AMOUNT = 0.5
_KIND_STREAM, _CAPTION_STREAM = 1, 2


@dataclass(frozen=True)
class PictureMix:
    """Shares of the kinds of pictures; they sum to 1.

    Our choice: photos show motion by blur, or not at all, and captions name it in both; so most
    pictures with motion words carry a cue, some do not.

    Args:
        crisp_content: Frames of clips, told by their content.
        crisp_changed: The same of clips that change the shape's angle or size.
        crisp_full: Frames of clips, told by content and motion.
        cue_full: Pictures with a cue of the motion, told by content and motion.
        cue_motion: Pictures with a cue, told by their motion alone.
    """

    crisp_content: float = 0.20
    crisp_changed: float = 0.20
    crisp_full: float = 0.10
    cue_full: float = 0.35
    cue_motion: float = 0.15

    def __post_init__(self) -> None:
        shares = vars(self).values()
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"mix: the shares must be 0 or more and sum to 1, got {self}.")


@dataclass(frozen=True)
class Picture:
    """One picture, before it is rendered.

    Args:
        scene: What it shows.
        kind: Whether it is crisp or carries a cue, and what its captions tell.
        time: Which moment of the clip a crisp one shows, in frames.
    """

    scene: Scene
    kind: PictureKind
    time: float


def sample_picture(
    seed: int, index: int, mix: PictureMix | None = None, *, held_out: bool = False
) -> Picture:
    """The picture with this number in the stream of this seed; depends on nothing else.

    Args:
        seed: Names the stream, 0 or more.
        index: Number in it, 0 or more.
        mix: Shares of the kinds.
        held_out: Whether to show only combinations that training never sees, rather than none.
    """
    sample = sample_evaluation_scene if held_out else sample_training_scene
    shares = vars(mix or PictureMix())
    rng = np.random.default_rng((seed, index, _KIND_STREAM))
    kind: PictureKind = rng.choice(list(shares), p=list(shares.values())).item()
    if kind == "crisp_changed":
        scene = sample(seed, index, motions=_CHANGES, amounts=_CHANGE_AMOUNTS)
        return Picture(scene, kind, rng.uniform(0, NUM_FRAMES - 1))
    is_first = rng.random() < _OF_FIRST_FRAMES
    time = 0.0 if is_first else rng.uniform(0, NUM_FRAMES - 1)
    return Picture(sample(seed, index), kind, time)


def render_picture(picture: Picture, size_px: int) -> Tensor:
    """The picture, (h w 3), float32, 0 to 1."""
    if picture.kind.startswith("cue_"):
        return render_cue(picture.scene, size_px)
    return render_moments(picture.scene, torch.tensor([picture.time]), size_px)[0]


def render_pixels(pictures: Sequence[Picture], size_px: int) -> Tensor:
    """Pictures as networks see them, (b 3 h w), −1 to 1."""
    images = torch.stack([render_picture(picture, size_px) for picture in pictures])
    return images.movedim(-1, 1).contiguous() * 2 - 1


def picture_caption(picture: Picture, seed: int) -> str:
    """A sentence for the picture.

    Args:
        picture: Its kind says what the sentence tells.
        seed: Picks the wording, 0 or more.
    """
    tell = {
        "crisp_content": content_caption,
        "crisp_changed": content_caption,
        "cue_motion": motion_caption,
    }
    return tell.get(picture.kind, full_caption)(picture.scene, seed)


def contrasting_captions(picture: Picture, seed: int) -> tuple[str, str]:
    """Two sentences with the same content in the same words: its motion, and another one."""
    scene, rng = picture.scene, np.random.default_rng((seed, _CAPTION_STREAM))
    other = str(rng.choice([motion for motion in MOTIONS if motion != scene.motion]))
    changed = with_motion(scene, other, _OTHER_AMOUNT)
    return full_caption(scene, seed), full_caption(changed, seed)
