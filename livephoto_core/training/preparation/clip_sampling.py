"""Which frames of a video become a clip."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ...motion_intensity import WINDOW_PX

LATENT_CELL_PX = 8


@dataclass(frozen=True)
class ClipConfig:
    """What a clip is.

    Args:
        size_px: (width, height), multiples of 8.
        num_frames: Frames per clip.
        strides: (least, most) video frames from one frame of the clip to the next; drawn for each
            video. LivePhoto names none; 1 to 6 is DynamiCrafter's. Videos too short for the stride
            get the largest that fits.
        seed: Of the strides and the places in the videos. A video's draw depends on the seed and
            the video's name only.
    """

    size_px: tuple[int, int] = (256, 256)
    num_frames: int = 16
    strides: tuple[int, int] = (1, 6)
    seed: int = 0

    def __post_init__(self) -> None:
        for side_px in self.size_px:
            if side_px % LATENT_CELL_PX or side_px < WINDOW_PX:
                raise ValueError(
                    f"--size: width and height must be multiples of {LATENT_CELL_PX} and at least "
                    f"16 px, got {self.size_px[0]}x{self.size_px[1]}."
                )
        if self.num_frames < 2:
            raise ValueError(f"--frames must be at least 2 to show motion, got {self.num_frames}.")
        least, most = self.strides
        if not 1 <= least <= most:
            raise ValueError(
                f"--min-stride and --max-stride must be 1 ≤ min ≤ max, got {least} and {most}."
            )


@dataclass(frozen=True)
class Draw:
    """A video's random numbers.

    Args:
        stride: Frames of the video from one frame of the clip to the next.
        place: Where in the room that is left the clip begins, 0 up to, not including, 1.
    """

    stride: int
    place: float


@dataclass(frozen=True)
class Cut:
    """Frames `start`, `start` + `stride`, … of a video."""

    start: int
    stride: int


def draw_for(name: str, config: ClipConfig) -> Draw:
    """The random numbers of the video called `name`; the same on every machine and run."""
    key = f"{config.seed}\n{name}".encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(key).digest()
    least, most = config.strides
    stride = least + int.from_bytes(digest[:8], "big") % (most - least + 1)
    return Draw(stride=stride, place=int.from_bytes(digest[8:14], "big") / 2**48)


def cut(draw: Draw, *, available: int, num_frames: int) -> Cut | None:
    """The clip in a video of `available` frames; `None` if it is too short for any stride."""
    stride = min(draw.stride, (available - 1) // (num_frames - 1))
    if stride < 1:
        return None
    room = available - (num_frames - 1) * stride
    return Cut(start=int(draw.place * room), stride=stride)
