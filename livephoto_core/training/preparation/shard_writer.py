"""Samples as WebDataset shards: tar files that are the same bytes for the same samples."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ...atomic_files import partial_path, publish
from .examples import Example
from .sources import VideoSource

KEY_DIGITS = 9


@dataclass(frozen=True, eq=False)
class Sample:
    """One clip as it is stored.

    Args:
        source: Its video.
        example: Frames, caption and SSIM.
        latents: (f c h w), in the UNet's scale.
        text: Text tokens of the caption, (n d).
    """

    source: VideoSource
    example: Example
    latents: Tensor
    text: Tensor

    @property
    def key(self) -> str:
        """The video's place in the source: unique over the shards of all machines."""
        return f"{self.source.position:0{KEY_DIGITS}d}"

    def members(self) -> list[tuple[str, bytes]]:
        """Extension and content of each file in the shard."""
        clip = self.example.clip
        content = [
            ("latents.npy", half_precision_npy(self.latents)),
            ("text.npy", half_precision_npy(self.text)),
            ("reference.png", _png(clip.frames[0])),
            ("txt", self.example.caption.encode()),
        ]
        facts = {
            "ssim": self.example.ssim,
            "stride": clip.stride,
            "source": self.source.name,
            "start_frame": clip.start_frame,
            "crc32": {extension: zlib.crc32(data) for extension, data in content},
        }
        return [*content, ("json", json.dumps(facts).encode())]


class ShardWriter:
    """One shard, under a partial name until it is published.

    Args:
        path: The shard's final path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ssim: list[float] = []
        self._tar = tarfile.open(partial_path(path), "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    @property
    def num_clips(self) -> int:
        """Clips in it so far."""
        return len(self.ssim)

    def add(self, sample: Sample) -> None:
        """Appends a sample."""
        for extension, content in sample.members():
            member = tarfile.TarInfo(f"{sample.key}.{extension}")
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))
        self.ssim.append(sample.example.ssim)

    def finish(self) -> int:
        """Completes the partial file; returns its size in bytes."""
        self._tar.close()
        return partial_path(self.path).stat().st_size

    def publish(self) -> None:
        """Gives the finished file its name."""
        publish(self.path)

    def discard(self) -> None:
        """Removes the partial file, if it was not published."""
        self._tar.close()
        partial_path(self.path).unlink(missing_ok=True)


def half_precision_npy(tensor: Tensor) -> bytes:
    """A tensor as the bytes of a float16 .npy file."""
    file = io.BytesIO()
    np.save(file, tensor.half().numpy(), allow_pickle=False)
    return file.getvalue()


def _png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
