"""What is measured of a clip, as closed forms of embeddings and brightness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..motion_intensity import LUMA

PERCENT = 100.0


def adjacent_similarity(embeddings: Tensor) -> float:
    """Mean cosine similarity of adjacent frames, in percent (LivePhoto, tables 1 and 2).

    100 / (n−1) · Σ cos(eⁱ, eⁱ⁺¹)

    Args:
        embeddings: Of each frame, (f d), at least two.
    Raises:
        ValueError: If there are fewer.
    """
    if len(embeddings) < 2:
        raise ValueError(f"embeddings must be of 2 or more frames, got {len(embeddings)}.")
    similarity = F.cosine_similarity(embeddings[:-1], embeddings[1:], dim=-1)
    return PERCENT * similarity.mean().item()


def reference_similarity(embeddings: Tensor, reference: Tensor) -> list[float]:
    """Cosine similarity of each frame to the reference, in percent.

    Args:
        embeddings: Of each frame, (f d).
        reference: Of the photo, (d).
    """
    return (PERCENT * F.cosine_similarity(embeddings, reference[None], dim=-1)).tolist()


def brightness(images: Tensor) -> Tensor:
    """Mean luma of each frame, (f,), 0 to 1, of images (f h w 3), 0 to 1."""
    return images.mean(dim=(1, 2)) @ images.new_tensor(LUMA)


def flicker(brightness_of_frames: Tensor) -> float:
    """How unsteadily the brightness of the whole picture changes, in percent of the full range.

    100 / (n−2) · Σ |bⁱ⁻¹ − 2bⁱ + bⁱ⁺¹| / 2

    Our choice: the second difference. A steady fade has none, a frame that is brighter than its
    neighbours counts fully.

    Args:
        brightness_of_frames: (f,), 0 to 1.
    Returns:
        0 for fewer than three frames.
    """
    if len(brightness_of_frames) < 3:
        return 0.0
    before, now, after = (
        brightness_of_frames[i : len(brightness_of_frames) - 2 + i] for i in range(3)
    )
    return PERCENT * torch.mean((before - 2 * now + after).abs() / 2).item()
