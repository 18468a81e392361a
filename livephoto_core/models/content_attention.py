"""Content tokens of the reference image, injected by added cross-attention.

LivePhoto, section 3.3: patch tokens of a frozen DINOv2, a learnable linear layer, new
cross-attention layers. Our choice where the paper is silent: one at every transformer block of the
UNet, next to its text cross-attention and fed by the same normalised hidden states, with query,
key, value and output projections of its own, the last starting at zero.
"""

from __future__ import annotations

from typing import Any, cast

from einops import rearrange
from torch import Tensor, nn

from .attention import multi_head_attention
from .config import ContentConfig, UNetLayout
from .unet_blocks import BlockLocation, attention_locations, location_name

KeysValues = dict[BlockLocation, tuple[Tensor, Tensor]]
"""Keys and values (b n c) of the reference images at every transformer block."""


class ContentCrossAttention(nn.Module):
    """Cross-attention from UNet features to the content tokens of one image."""

    def __init__(
        self, channels: int, token_dim: int, num_heads: int, *, operations: Any, **factory: Any
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = operations.Linear(channels, channels, bias=False, **factory)
        self.to_k = operations.Linear(token_dim, channels, bias=False, **factory)
        self.to_v = operations.Linear(token_dim, channels, bias=False, **factory)
        self.to_out = operations.Linear(channels, channels, **factory)

    def forward(self, hidden: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attends from all frames of a clip to the same keys and values.

        The image is the same for every frame (and, in sampling, guidance branch), so all of them
        form one sequence of queries, and keys and values are never repeated.

        Args:
            hidden: (b·f n c), the frames of a clip next to each other.
            key, value: (b m c); b is 1 in sampling, the clips of a batch in training.
        Returns:
            (b·f n c), to be added to the text cross-attention's output.
        """
        num_images, num_positions = key.shape[0], hidden.shape[1]
        query = rearrange(self.to_q(hidden), "(b f) n c -> b (f n) c", b=num_images)
        out = multi_head_attention(query, key.to(query), value.to(query), self.num_heads)
        return self.to_out(rearrange(out, "b (f n) c -> (b f) n c", n=num_positions))


class ContentAttention(nn.Module):
    """The token projection and the added cross-attention of every transformer block."""

    def __init__(
        self, config: ContentConfig, layout: UNetLayout, *, operations: Any = nn, **factory: Any
    ) -> None:
        super().__init__()
        self.locations = [location for location, _ in attention_locations(layout)]
        self.projection = operations.Linear(config.encoder_dim, config.token_dim, **factory)
        self.attention = nn.ModuleDict(
            {
                location_name(location): ContentCrossAttention(
                    channels, config.token_dim, layout.num_heads, operations=operations, **factory
                )
                for location, channels in attention_locations(layout)
            }
        )

    def keys_values(self, patch_tokens: Tensor) -> KeysValues:
        """Keys and values of reference images, the same for every step, frame and branch.

        Args:
            patch_tokens: Of the frozen encoder, (b n encoder_dim).
        """
        tokens = self.projection(patch_tokens)
        return {
            location: (attention.to_k(tokens), attention.to_v(tokens))
            for location, attention in zip(self.locations, self._attentions(), strict=True)
        }

    def forward(self, location: BlockLocation, hidden: Tensor, keys_values: KeysValues) -> Tensor:
        """What to add to the text cross-attention's output at one block, (b n c)."""
        key, value = keys_values[location]
        return self.attention[location_name(location)](hidden, key, value)

    def initialise_weights(self) -> None:
        """Weights to start training from: nothing is added at first."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for attention in self._attentions():
            nn.init.zeros_(attention.to_out.weight)

    def _attentions(self) -> list[ContentCrossAttention]:
        return cast("list[ContentCrossAttention]", list(self.attention.values()))
