"""Frames of clips as people keep them: videos, animated pictures, folders of pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import av
import av.error
import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from ..training.preparation.sources import VIDEO_SUFFIXES

ANIMATION_SUFFIXES = (".apng", ".gif", ".webp")
PICTURE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")
MOVING_SUFFIXES = (*VIDEO_SUFFIXES, *ANIMATION_SUFFIXES)


class UnreadableClipError(ValueError):
    """A clip cannot be read; the message says which and why."""


def find_clips(folder: Path) -> list[Path]:
    """All clips in a folder, at any depth: video files, animations, and folders of pictures.

    Returns:
        Paths, sorted; a folder that holds pictures is one clip, unless it holds videos too: then
        they are the pictures that video nodes save beside them.
    Raises:
        ValueError: If the folder is not there, or holds no clip.
    """
    if not folder.is_dir():
        raise ValueError(f"clips: {folder} is no folder. Give the folder that holds the videos.")
    paths = list(folder.rglob("*"))
    videos = {path for path in paths if path.suffix.lower() in MOVING_SUFFIXES}
    pictured = {path.parent for path in paths if path.suffix.lower() in PICTURE_SUFFIXES}
    clips = videos | pictured - {path.parent for path in videos}
    if not clips:
        kinds = ", ".join(MOVING_SUFFIXES)
        raise ValueError(f"clips: {folder} holds no clip ({kinds}, or folders of pictures).")
    return sorted(clips)


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """The frames of a clip in order, (h w 3), uint8, one at a time.

    Raises:
        UnreadableClipError: If the file is damaged, or frames differ in size.
    """
    try:
        size = None
        for frame in _decode(path):
            if size not in (None, frame.shape):
                raise UnreadableClipError(
                    f"{path.name}: its frames differ in size, {size} and {frame.shape}. Give "
                    "frames of one size."
                )
            size = frame.shape
            yield frame
    except (av.error.FFmpegError, UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UnreadableClipError(f"{path.name}: cannot be decoded ({error}).") from error


def chunks(frames: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Frames as batches (n h w 3), n at most `size`."""
    frames = iter(frames)
    while part := list(islice(frames, size)):
        yield np.stack(part)


def read_picture(path: Path) -> np.ndarray:
    """One picture, (h w 3), uint8.

    Raises:
        UnreadableClipError: If it is none.
    """
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UnreadableClipError(f"{path.name}: cannot be decoded ({error}).") from error


def _decode(path: Path) -> Iterator[np.ndarray]:
    if path.is_dir():
        pictures = [p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES]
        return map(read_picture, sorted(pictures, key=_numbered))
    if path.suffix.lower() in ANIMATION_SUFFIXES:
        return _decode_animation(path)
    return _decode_video(path)


def _decode_video(path: Path) -> Iterator[np.ndarray]:
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise UnreadableClipError(f"{path.name}: holds no video.")
        for frame in container.decode(container.streams.video[0]):
            yield frame.to_ndarray(format="rgb24")


def _decode_animation(path: Path) -> Iterator[np.ndarray]:
    with closing(Image.open(path)) as animation:
        for frame in ImageSequence.Iterator(animation):
            yield np.asarray(frame.convert("RGB"))


def _numbered(path: Path) -> list[tuple[int, str]]:
    """Sorts 2.png before 10.png."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", path.name)
    ]
