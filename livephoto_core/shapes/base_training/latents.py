"""Latents of many pictures, encoded once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..base_model import BaseConfig
from ..encoded_stream import Stream, encode_pixels, encode_stream, encoder_digest
from ..split import world_digest
from .pictures import PictureMix, render_pixels, sample_picture

_PART = 64


def encode_pictures(
    autoencoder: Any,
    config: BaseConfig,
    folder: Path,
    *,
    num_pictures: int,
    seed: int,
    num_workers: int = 1,
) -> np.ndarray:
    """Latents of the pictures 0 to `num_pictures` − 1 of a stream, as the UNet sees them.

    Continues what an interrupted call left, and returns at once if all are there.

    Args:
        autoencoder: ComfyUI's AutoencoderKL, after `normalise_latents`, where it shall run.
        config: Size of the pictures.
        folder: Gets the file.
        num_pictures: How many; a multiple of 64.
        seed: Names the stream.
        num_workers: Processes that render.
    Returns:
        (num_pictures c h w), float16, mapped from the file.
    Raises:
        ValueError: If the folder holds latents of another autoencoder, seed, size or world.
    """
    stream = Stream(
        name="pictures",
        count=num_pictures,
        part_size=_PART,
        arrays={"latents": (config.latent_shape, np.float16)},
        render=_RenderedPictures(seed, config.size_px),
        encode=partial(_encode, autoencoder),
        description={
            "autoencoder": encoder_digest(autoencoder.state_dict()),
            "mix": vars(PictureMix()),
            "seed": seed,
            "size_px": config.size_px,
            "world": world_digest(),
        },
    )
    return encode_stream(stream, folder, num_workers=num_workers)["latents"]


@dataclass(frozen=True)
class _RenderedPictures:
    seed: int
    size_px: int

    def __call__(self, part: int) -> Tensor:
        indices = range(part * _PART, (part + 1) * _PART)
        pictures = [sample_picture(self.seed, index) for index in indices]
        return render_pixels(pictures, self.size_px)


def _encode(autoencoder: Any, pixels: Tensor) -> dict[str, np.ndarray]:
    return {"latents": encode_pixels(autoencoder, pixels)}
