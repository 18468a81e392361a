"""What a worker process makes of one entry of the source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ...motion_intensity import mean_ssim
from .clip_sampling import ClipConfig
from .decoding import Clip, read_clip
from .sources import VideoSource
from .unusable import UnreachableVideoError, UnusableVideoError

MAX_CAPTION_CHARACTERS = 10_000


@dataclass(frozen=True, eq=False)
class Example:
    """A clip with what is said and measured of it.

    Args:
        clip: The frames.
        caption: Not empty.
        ssim: Mean SSIM of adjacent frames.
    """

    clip: Clip
    caption: str
    ssim: float


@dataclass(frozen=True)
class Rejection:
    """Why an entry is left out.

    Args:
        reason: For the list of what is.
        is_unreachable: Whether a file of it is missing or cannot be read.
    """

    reason: str
    is_unreachable: bool = False


def make_example(source: VideoSource, config: ClipConfig) -> Example | Rejection:
    """The clip of an entry, or why there is none."""
    try:
        if source.problem is not None:
            raise UnusableVideoError(source.problem)
        caption = _caption(source)
        clip = read_clip(source.path, source.name, config)
    except UnusableVideoError as error:
        return Rejection(str(error), isinstance(error, UnreachableVideoError))
    except (OSError, ValueError) as error:  # such as a name that no file can have
        return Rejection(f"cannot be read: {error}", isinstance(error, OSError))
    images = torch.from_numpy(clip.frames).float() / 255
    return Example(clip, caption, mean_ssim(images))


def _caption(source: VideoSource) -> str:
    text = source.caption
    if text is None:
        text = _beginning(source.path.with_suffix(".txt"))
    text = text.strip()
    if not text:
        raise UnusableVideoError("the caption is empty")
    if len(text) > MAX_CAPTION_CHARACTERS:
        raise UnusableVideoError(f"the caption is longer than {MAX_CAPTION_CHARACTERS} characters")
    if "\ufffd" in text:
        raise UnusableVideoError("the caption is not UTF-8")
    return text


def _beginning(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(MAX_CAPTION_CHARACTERS + 1)
    except OSError as error:
        raise UnreachableVideoError(f"the caption {path.name}: {error.strerror}") from error
