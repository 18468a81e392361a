"""Text tokens adapted to the frozen base's keys and values.

Not part of the paper, whose base is frozen and whose sentence reaches the video only through what
the base makes of its words. A base that was trained on still pictures may make nothing of
"clockwise"; with these layers the training on videos can teach it, and the base's own weights stay
as they are, LoRAs on them included.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from .config import UNetLayout
from .unet_blocks import BlockLocation, attention_locations, location_name


class TextAdapter(nn.Module):
    """Residual linear maps of the tokens that one cross-attention makes keys and values of."""

    def __init__(self, token_dim: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.for_keys = operations.Linear(token_dim, token_dim, bias=False, **factory)
        self.for_values = operations.Linear(token_dim, token_dim, bias=False, **factory)

    def forward(self, keys_tokens: Tensor, values_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What the base's `to_k` and `to_v` get instead of (b n d) and (b n d)."""
        return (
            keys_tokens + self.for_keys(keys_tokens),
            values_tokens + self.for_values(values_tokens),
        )


class TextAdapters(nn.Module):
    """A `TextAdapter` at every transformer block of the UNet."""

    def __init__(self, layout: UNetLayout, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.adapters = nn.ModuleDict(
            {
                location_name(location): TextAdapter(
                    layout.context_dim, operations=operations, **factory
                )
                for location, _ in attention_locations(layout)
            }
        )

    def at(self, location: BlockLocation) -> TextAdapter:
        """The adapter of one block."""
        return cast("TextAdapter", self.adapters[location_name(location)])

    def initialise_weights(self) -> None:
        """Weights to start training from: tokens stay as they are."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
