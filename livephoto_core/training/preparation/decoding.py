"""A clip out of a video file, without decoding more of it than needed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import av.error
import numpy as np

from .clip_sampling import ClipConfig, Cut, cut, draw_for
from .framing import frame_picture
from .unusable import UnreachableVideoError, UnusableVideoError
from .video_file import IndexedFrames, VideoFile, open_video


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames of one video.

    Args:
        frames: (f h w 3), uint8.
        stride: Video frames from one frame to the next.
        start_frame: The first frame's place in the video, from 0. Where frames last differently
            long, counted at the video's average rate.
    """

    frames: np.ndarray
    stride: int
    start_frame: int


def read_clip(path: Path, name: str, config: ClipConfig) -> Clip:
    """The clip that the seed and the video's name decide on.

    Decodes from the last keyframe before it. Holds one decoded frame at a time beside the clip, so
    a 4K video needs little more memory than a small one.

    Raises:
        UnusableVideoError: With the reason, if the file does not give a whole clip.
    """
    if not path.is_file():
        raise UnreachableVideoError("the file is missing")
    if path.stat().st_size == 0:
        raise UnusableVideoError("the file is empty")
    try:
        return _read(path, name, config)
    except av.error.FFmpegError as error:
        kind = UnreachableVideoError if isinstance(error, OSError) else UnusableVideoError
        raise kind(f"cannot be decoded: {error.strerror}") from error


def _read(path: Path, name: str, config: ClipConfig) -> Clip:
    draw = draw_for(name, config)
    with open_video(path) as video:
        planned = cut(draw, available=video.claimed_frames, num_frames=config.num_frames)
        if planned is not None:
            clip, _ = _take(video, video.frames_from(planned.start), planned.stride, config)
            if clip is not None:
                return clip
    # The header promised too much, or nothing. From the start the number of frames to decode has
    # a bound, and a video that ends before it has been counted.
    clip, available = _take_from_start(path, Cut(0, draw.stride), config)
    if clip is not None:
        return clip
    planned = cut(draw, available=available, num_frames=config.num_frames)
    if planned is None:
        raise UnusableVideoError(f"has {available} frames, {config.num_frames} are needed")
    clip, _ = _take_from_start(path, planned, config)
    assert clip is not None, f"{path} had {available} frames, and now has fewer"
    return clip


def _take_from_start(path: Path, wanted: Cut, config: ClipConfig) -> tuple[Clip | None, int]:
    with open_video(path) as video:
        frames = islice(video.frames(), wanted.start, None)
        return _take(video, frames, wanted.stride, config)


def _take(
    video: VideoFile, frames: IndexedFrames, stride: int, config: ClipConfig
) -> tuple[Clip | None, int]:
    """The clip, or `None` and the number of frames there were."""
    pictures: list[np.ndarray] = []
    start_frame = count = 0
    for count, (index, frame) in enumerate(frames, start=1):
        if (count - 1) % stride:
            continue
        if frame.is_corrupt:
            raise UnusableVideoError(f"frame {index} is damaged")
        if not pictures:
            start_frame = index
        pictures.append(
            frame_picture(frame, size_px=config.size_px, pixel_aspect=video.pixel_aspect)
        )
        if len(pictures) == config.num_frames:
            return Clip(np.stack(pictures), stride, start_frame), count
    return None, count
