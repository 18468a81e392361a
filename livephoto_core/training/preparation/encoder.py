"""What the preparation asks of the base model."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class ClipEncoder(Protocol):
    """Encodes frames and captions, as `livephoto_core.comfyui.encoding.CheckpointEncoder` does."""

    @property
    def name(self) -> str:
        """Of the weights, for the data set's description."""
        ...

    @property
    def sha256(self) -> str:
        """Of the weights: a data set is never continued with others."""
        ...

    def encode_images(self, images: Tensor) -> Tensor:
        """Latents as the UNet sees them.

        Args:
            images: (b h w 3) in 0…1.
        Returns:
            (b c h/8 w/8), on the CPU.
        """
        ...

    def encode_text(self, caption: str) -> Tensor:
        """Text tokens (n d), on the CPU."""
        ...
