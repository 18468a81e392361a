"""Videos made for the tests: moving patterns whose frames carry their own number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

NUMBER_BITS = 10


def moving_texture(
    num_frames: int,
    *,
    speed_px: float = 0.0,
    width: int = 96,
    height: int = 96,
    first: int = 0,
    seed: int = 0,
) -> np.ndarray:
    """A smooth random texture that moves right; (f h w 3), uint8.

    Over its upper quarter lies a bar code of the frame's number, which survives compression.
    """
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = np.random.default_rng(seed).uniform(-0.5, 0.5, (12, 3))
    frames = []
    for number in range(first, first + num_frames):
        texture = sum(
            np.sin(u * (x - speed_px * number) + v * y + 20 * phase) for u, v, phase in waves
        )
        frame = np.clip(127 + 25 * texture, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        draw_number(frame, number)
        frames.append(frame)
    return np.stack(frames)


def draw_number(frame: np.ndarray, number: int) -> None:
    """Writes a number into the upper quarter of a frame as dark and bright columns."""
    height, width = frame.shape[:2]
    for bit in range(NUMBER_BITS):
        columns = slice(bit * width // NUMBER_BITS, (bit + 1) * width // NUMBER_BITS)
        frame[: height // 4, columns] = 235 if number >> bit & 1 else 20


def read_numbers(frames: np.ndarray) -> list[int]:
    """The numbers in (f h w 3) frames, at any size with the same aspect ratio."""
    height, width = frames.shape[1:3]
    columns = [int((bit + 0.5) * width / NUMBER_BITS) for bit in range(NUMBER_BITS)]
    bright = frames[:, height // 8, columns].mean(axis=-1) > 127
    return [sum(1 << bit for bit in range(NUMBER_BITS) if frame[bit]) for frame in bright]


def write_video(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: Fraction | int = 30,
    pts: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    **stream_attributes: Any,
) -> Path:
    """Encodes frames; `pts` in milliseconds makes the frame rate vary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        for name, value in stream_attributes.items():
            setattr(stream.codec_context, name, value)
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A file with an audio stream only."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        samples = np.zeros((1, 8000), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def rotate_on_display(path: Path) -> None:
    """Sets the header of an mp4 to a quarter turn clockwise, as phones do."""
    content = bytearray(path.read_bytes())
    # Track header, version 0: 4 bytes of name, 40 of other fields, then nine 32-bit numbers.
    # (x, y) → (a·x + c·y, b·x + d·y); with y downward, a quarter turn clockwise is (−y, x).
    start = content.index(b"tkhd") + 4 + 40
    one, minus_one = (1 << 16).to_bytes(4, "big"), (-1 << 16).to_bytes(4, "big", signed=True)
    zero = bytes(4)
    matrix = (zero, one, zero, minus_one, zero, zero, zero, zero, (1 << 30).to_bytes(4, "big"))
    content[start : start + 36] = b"".join(matrix)
    path.write_bytes(content)
