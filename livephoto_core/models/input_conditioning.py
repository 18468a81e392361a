"""Channels concatenated to the noise latent: reference latent, motion intensity, frame number.

A convolution over the concatenation [noise; added] is the sum of a convolution over each part. So
the base checkpoint's `conv_in` stays as it is, with its own weights and LoRAs, and the result of
the convolution in this file is added to its output (LivePhoto, section 3.2 and figure 2; PIA uses
the same input with its affinity in place of intensity and frame).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .config import InputConditioningConfig, UNetLayout

MIN_INTENSITY, MAX_INTENSITY = 1.0, 10.0

_SMALL = (1.0, 0.9, 0.85, 0.85, 0.85, 0.8)
_MEDIUM = (1.0, 0.8, 0.8, 0.8, 0.79, 0.78, 0.75)
_LARGE = (1.0, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.6, 0.5, 0.5)


def check_intensity(level: float) -> None:
    """Raises ValueError unless `level` is a motion intensity."""
    if not MIN_INTENSITY <= level <= MAX_INTENSITY:
        raise ValueError(f"motion_intensity goes from 1 (still) to 10 (wild), not {level}.")


def frame_positions(num_frames: int) -> Tensor:
    """Frame embedding: 0 for the first frame, linearly to 1 for the last, (f)."""
    return torch.linspace(0.0, 1.0, num_frames)


def affinity(level: float, num_frames: int) -> Tensor:
    """PIA's similarity of each frame to the reference, (f), reference first.

    Our choice: levels 1, 5.5 and 10 are PIA's published small, medium and large motion, the levels
    between are interpolated; a table shorter than the clip repeats its last value.
    """
    small, medium, large = (
        torch.tensor([table[min(frame, len(table) - 1)] for frame in range(num_frames)])
        for table in (_SMALL, _MEDIUM, _LARGE)
    )
    position = (level - MIN_INTENSITY) / (MAX_INTENSITY - MIN_INTENSITY) * 2
    return (
        torch.lerp(small, medium, position)
        if position <= 1
        else torch.lerp(medium, large, position - 1)
    )


def assemble_channels(
    config: InputConditioningConfig, *, reference: Tensor, level: float, num_frames: int
) -> Tensor:
    """The channels that accompany the noise latent of a clip.

    Args:
        config: Which channels, in which order.
        reference: Latent of the reference image as the UNet sees latents (VAE latent × 0.18215 for
            SD-1.5), (1 c h w).
        level: Motion intensity, 1 to 10.
        num_frames: f.
    Returns:
        (f n h w) with n = `num_channels(config, c)`.
    Raises:
        ValueError: If the level is out of range or the reference is not one latent.
    """
    check_intensity(level)
    if reference.ndim != 4 or reference.shape[0] != 1:
        raise ValueError(f"reference must be one latent (1 c h w), not {tuple(reference.shape)}.")
    _, _, height, width = reference.shape

    def plane(values: Tensor) -> Tensor:
        return values.to(reference).view(-1, 1, 1, 1).expand(num_frames, 1, height, width)

    make: dict[str, Callable[[], Tensor]] = {
        "reference": lambda: reference.expand(num_frames, -1, -1, -1),
        "intensity": lambda: plane(torch.tensor([level])),
        "frame": lambda: plane(frame_positions(num_frames)),
        "affinity": lambda: plane(affinity(level, num_frames)),
    }
    return torch.cat([make[name]() for name in config.channels], dim=1)


def channel_slices(config: InputConditioningConfig, latent_channels: int) -> dict[str, slice]:
    """Where each of the added channels lies among them."""
    slices: dict[str, slice] = {}
    first = 0
    for name in config.channels:
        width = latent_channels if name == "reference" else 1
        slices[name] = slice(first, first + width)
        first += width
    return slices


def num_channels(config: InputConditioningConfig, latent_channels: int) -> int:
    """How many channels are added to the noise latent."""
    return max(place.stop for place in channel_slices(config, latent_channels).values())


class InputConditioning(nn.Module):
    """The part of `conv_in` that reads the added channels; no bias, the base layer has it."""

    def __init__(
        self,
        config: InputConditioningConfig,
        layout: UNetLayout,
        *,
        operations: Any = nn,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.conv = operations.Conv2d(
            num_channels(config, layout.latent_channels),
            layout.block_channels[0],
            kernel_size=3,
            padding=1,
            bias=False,
            **factory,
        )

    def forward(self, channels: Tensor) -> Tensor:
        """(b n h w) → (b c h w), to be added to the output of the base `conv_in`."""
        return self.conv(channels)

    def initialise_weights(self) -> None:
        """Zero, so that training starts from the base model."""
        nn.init.zeros_(self.conv.weight)
