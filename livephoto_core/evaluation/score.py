"""Scores of clips: coherence, likeness to the photo, motion, flicker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..motion_intensity import DEFAULT_EDGES, frame_pair_ssim, motion_level
from .metrics import adjacent_similarity, brightness, flicker, reference_similarity
from .videos import UnreadableClipError, chunks, read_frames, read_picture

FRAMES_PER_BATCH = 16


class Encoder(Protocol):
    """Frames (n h w 3), uint8, to embeddings (n d)."""

    def __call__(self, frames: np.ndarray) -> Tensor:
        """See the class."""
        ...


@dataclass(frozen=True)
class ClipScore:
    """What is measured of one clip.

    Args:
        name: Of the clip.
        num_frames: Frames.
        adjacent: Mean similarity of adjacent frames in percent, by encoder.
        reference: Mean similarity to the photo in percent, by encoder.
        reference_per_frame: The same of each frame.
        ssim: Mean SSIM of adjacent frames.
        level: Motion level, 1 to 10.
        flicker: See `metrics.flicker`, in percent.
    """

    name: str
    num_frames: int
    adjacent: Mapping[str, float]
    reference: Mapping[str, float]
    reference_per_frame: Mapping[str, list[float]]
    ssim: float
    level: int
    flicker: float


def score_file(
    path: Path,
    encoders: Mapping[str, Encoder],
    *,
    name: str,
    reference: Path | None = None,
    edges: Sequence[float] = DEFAULT_EDGES,
) -> ClipScore:
    """Scores a clip on disk.

    Args:
        path: Video, animation or folder of pictures.
        encoders: By name, such as "clip".
        name: Of the clip, for the table.
        reference: The photo it was made of; by default its first frame.
        edges: Between motion levels.
    Raises:
        UnreadableClipError: If clip or photo cannot be read, or the clip has one frame.
    """
    photo = None if reference is None else read_picture(reference)
    try:
        return score_frames(name, read_frames(path), encoders, photo=photo, edges=edges)
    except UnreadableClipError:
        raise
    except ValueError as error:
        raise UnreadableClipError(f"{path.name}: {error}") from error


def score_frames(
    name: str,
    frames: Iterable[np.ndarray],
    encoders: Mapping[str, Encoder],
    *,
    photo: np.ndarray | None = None,
    edges: Sequence[float] = DEFAULT_EDGES,
) -> ClipScore:
    """Scores frames, sixteen at a time: a long video needs no more memory than a short one.

    Args:
        name: Of the clip.
        frames: (h w 3), uint8, one at a time.
        encoders: By name.
        photo: (h w 3), uint8; by default the first frame.
        edges: Between motion levels.
    Raises:
        ValueError: If there are fewer than two frames, or they are below 11×11 pixels.
    """
    embeddings: dict[str, list[Tensor]] = {encoder: [] for encoder in encoders}
    ssim: list[Tensor] = []
    light: list[Tensor] = []
    last: np.ndarray | None = None
    for batch in chunks(frames, FRAMES_PER_BATCH):
        photo = batch[0] if photo is None else photo
        for encoder, encode in encoders.items():
            embeddings[encoder].append(encode(batch))
        linked = batch if last is None else np.concatenate([last[None], batch])
        if len(linked) > 1:
            ssim.append(frame_pair_ssim(_images(linked)))
        light.append(brightness(_images(batch)))
        last = batch[-1]
    if photo is None or not ssim:
        raise ValueError("has fewer than two frames; similarity is measured between frames.")
    joined = {encoder: torch.cat(parts) for encoder, parts in embeddings.items()}
    to_photo = {
        encoder: reference_similarity(joined[encoder], encode(photo[None])[0])
        for encoder, encode in encoders.items()
    }
    mean_ssim = torch.cat(ssim).mean().item()
    return ClipScore(
        name=name,
        num_frames=sum(map(len, light)),
        adjacent={encoder: adjacent_similarity(joined[encoder]) for encoder in encoders},
        reference={encoder: sum(values) / len(values) for encoder, values in to_photo.items()},
        reference_per_frame=to_photo,
        ssim=mean_ssim,
        level=motion_level(mean_ssim, edges),
        flicker=flicker(torch.cat(light)),
    )


def _images(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(frames).float() / 255
