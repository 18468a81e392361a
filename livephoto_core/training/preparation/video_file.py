"""A video file: its frames, from the beginning or from close before any place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from .unusable import UnusableVideoError

MAX_FRAME_PX = 2**26
"""Larger frames, twice those of 8K, are refused: a broken header must not fill the memory."""

IndexedFrames = Iterator[tuple[int, av.VideoFrame]]


@dataclass(frozen=True, eq=False)
class VideoFile:
    """An open video; read it once, by one of the two iterators."""

    container: InputContainer
    stream: VideoStream

    @property
    def claimed_frames(self) -> int:
        """How many frames the header promises; 0 where it promises nothing."""
        if self.stream.frames:
            return self.stream.frames
        rate, duration = self.stream.average_rate, self._duration_s
        return int(duration * rate) if rate and duration else 0

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel over its height; 1 where the file does not say."""
        return self.stream.sample_aspect_ratio or Fraction(1)

    def frames(self) -> IndexedFrames:
        """All frames with their number, decoded from the beginning."""
        return enumerate(self.container.decode(self.stream))

    def frames_from(self, start: int) -> IndexedFrames:
        """The frames from number `start` on, decoded from the last keyframe before it.

        Numbers are counted at the average rate, from the time stamps. Yields nothing where the file
        has no time stamps, or no place before `start` can be found.
        """
        if not self.stream.average_rate or not self.stream.time_base:
            return iter(())
        # Half a frame later, against time stamps that were rounded.
        time_s = (start + Fraction(1, 2)) / self.stream.average_rate
        # Some seek too far: in MPEG-TS, or where groups of pictures are open.
        for margin_s in (0, 1, 4, 16, time_s + 1):
            frames = self._frames_near(time_s - margin_s)
            first = next(frames, None)
            if first is not None and first[0] <= start:
                return (frame for frame in chain((first,), frames) if frame[0] >= start)
        return iter(())

    def _frames_near(self, time_s: Fraction) -> IndexedFrames:
        rate, time_base = self.stream.average_rate, self.stream.time_base
        assert rate and time_base, "checked by the caller"
        first_pts = self.stream.start_time or 0
        try:
            self.container.seek(first_pts + int(time_s / time_base), stream=self.stream)
        except av.error.FFmpegError:
            return
        for frame in self.container.decode(self.stream):
            if frame.pts is None:
                return
            yield round((frame.pts - first_pts) * time_base * rate), frame

    @property
    def _duration_s(self) -> Fraction:
        if self.stream.duration and self.stream.time_base:
            return self.stream.duration * self.stream.time_base
        return Fraction(self.container.duration or 0, av.time_base)


@contextmanager
def open_video(path: Path) -> Iterator[VideoFile]:
    """Opens the video stream of a local file.

    Raises:
        UnusableVideoError: If there is none, or its frames are larger than `MAX_FRAME_PX`.
        av.error.FFmpegError: If the file is no video that FFmpeg knows.
    """
    # Absolute, so that no name in a manifest is taken for a URL.
    with av.open(str(path.absolute()), metadata_errors="replace") as container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            raise UnusableVideoError("has no video stream")
        if stream.codec_context is None:
            raise UnusableVideoError("is in a codec that this FFmpeg cannot decode")
        width, height = stream.codec_context.width, stream.codec_context.height
        if width * height > MAX_FRAME_PX:
            raise UnusableVideoError(f"its frames of {width}×{height} px are too large to decode")
        # The worker processes are the parallelism; frame threads would hold a frame each.
        stream.codec_context.thread_count = 1
        yield VideoFile(container, stream)
