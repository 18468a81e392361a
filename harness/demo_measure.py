"""What was asked of a demo video, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from harness.demo_plan import Request
from livephoto_core.motion_intensity import DEFAULT_EDGES, mean_ssim, motion_level
from livephoto_core.shapes.captions import VOCABULARY, motion_wordings, words
from livephoto_core.shapes.scene import MOTIONS
from livephoto_core.shapes.tracking import classify_motion


@dataclass(frozen=True)
class Result:
    """One video of the demo.

    Args:
        request: What was asked.
        motion: Name of the motion that is seen.
        level: Motion intensity that is measured, 1 to 10.
        seconds: Time it took.
        frames: Its frames, (f h w 3), 0 to 1.
    """

    request: Request
    motion: str
    level: int
    seconds: float
    frames: Tensor

    @property
    def asked_motion(self) -> str | None:
        """Name of the motion that the sentence names, see `asked_motion`."""
        return asked_motion(self.request.prompt)


def measure(
    request: Request, frames: Tensor, seconds: float, edges: Sequence[float] | None
) -> Result:
    """A video's result.

    Args:
        request: What was asked.
        frames: (f h w 3), 0 to 1.
        seconds: Time it took.
        edges: The checkpoint's `ssim_edges`; None for the pack's own.
    """
    level = motion_level(mean_ssim(frames), edges or DEFAULT_EDGES)
    return Result(request, classify_motion(frames), level, seconds, frames)


def asked_motion(sentence: str) -> str | None:
    """The one motion of the shapes world that a sentence names, or None if none or several."""
    spoken = f" {' '.join(words(sentence))} "
    named = [m for m in MOTIONS if any(f" {wording} " in spoken for wording in motion_wordings(m))]
    return named[0] if len(named) == 1 else None


def unknown_words(sentences: Sequence[str]) -> list[str]:
    """Words that the demo model never met, in order, each once."""
    spoken = dict.fromkeys(word for sentence in sentences for word in words(sentence))
    return [word for word in spoken if word not in VOCABULARY]
