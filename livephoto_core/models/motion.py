"""Motion modules: temporal transformers between the layers of an image UNet.

AnimateDiff (Guo et al., 2023) in its own layout and key names, so that its public weights load and
can initialise ours; LivePhoto (section 3.2) uses the same modules.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import multi_head_attention
from .config import MotionConfig, UNetLayout
from .unet_blocks import MIDDLE, BlockLocation, layer_locations


def sinusoidal_positions(length: int, channels: int) -> Tensor:
    """Sinusoidal positional encoding (Vaswani et al., 2017, section 3.5), (1 length channels)."""
    position = torch.arange(length, dtype=torch.float32)[:, None]
    frequency = torch.exp(
        torch.arange(0, channels, 2, dtype=torch.float32) * (-math.log(10000.0) / channels)
    )
    encoding = torch.zeros(1, length, channels)
    encoding[0, :, 0::2] = torch.sin(position * frequency)
    encoding[0, :, 1::2] = torch.cos(position * frequency)
    return encoding


class PositionalEncoding(nn.Module):
    """Adds a stored encoding of the frame number."""

    pe: Tensor

    def __init__(self, channels: int, length: int, **factory: Any) -> None:
        super().__init__()
        self.register_buffer("pe", torch.empty(1, length, channels, **factory))

    def forward(self, x: Tensor) -> Tensor:
        """(n f c) → (n f c)."""
        return x + self.pe[:, : x.shape[1]].to(x)


class TemporalSelfAttention(nn.Module):
    """Self-attention over the frames of each position."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        position_length: int,
        *,
        operations: Any,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = operations.Linear(channels, channels, bias=False, **factory)
        self.to_k = operations.Linear(channels, channels, bias=False, **factory)
        self.to_v = operations.Linear(channels, channels, bias=False, **factory)
        self.to_out = nn.ModuleList([operations.Linear(channels, channels, **factory)])
        self.pos_encoder = PositionalEncoding(channels, position_length, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(n f c) → (n f c)."""
        x = self.pos_encoder(x)
        out = multi_head_attention(self.to_q(x), self.to_k(x), self.to_v(x), self.num_heads)
        return self.to_out[0](out)


class GEGLU(nn.Module):
    """Gated GELU (Shazeer, 2020)."""

    def __init__(self, channels: int, hidden: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.proj = operations.Linear(channels, hidden * 2, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(… channels) → (… hidden)."""
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    """GEGLU, then a linear layer."""

    def __init__(self, channels: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        # The identity stands where AnimateDiff has a dropout: its index is part of the key names.
        self.net = nn.Sequential(
            GEGLU(channels, channels * 4, operations=operations, **factory),
            nn.Identity(),
            operations.Linear(channels * 4, channels, **factory),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(… c) → (… c)."""
        return self.net(x)


class TemporalTransformerBlock(nn.Module):
    """Two temporal self-attentions and a feed-forward, each with pre-norm and residual."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        position_length: int,
        *,
        operations: Any,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(
            TemporalSelfAttention(
                channels, num_heads, position_length, operations=operations, **factory
            )
            for _ in range(2)
        )
        self.norms = nn.ModuleList(operations.LayerNorm(channels, **factory) for _ in range(2))
        self.ff = FeedForward(channels, operations=operations, **factory)
        self.ff_norm = operations.LayerNorm(channels, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """(n f c) → (n f c)."""
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            x = x + attention(norm(x))
        return x + self.ff(self.ff_norm(x))


class TemporalTransformer(nn.Module):
    """One motion module: (b f) c h w in and out, attending over f at every position."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        position_length: int,
        *,
        operations: Any,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.norm = operations.GroupNorm(32, channels, eps=1e-6, **factory)
        self.proj_in = operations.Linear(channels, channels, **factory)
        self.transformer_blocks = nn.ModuleList(
            [
                TemporalTransformerBlock(
                    channels, num_heads, position_length, operations=operations, **factory
                )
            ]
        )
        self.proj_out = operations.Linear(channels, channels, **factory)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """Adds motion to the features of clips.

        Args:
            x: (b·f c h w), the frames of a clip next to each other.
            num_frames: f.
        """
        height = x.shape[2]
        hidden = rearrange(self.norm(x), "(b f) c h w -> (b h w) f c", f=num_frames)
        hidden = self.proj_in(hidden)
        for block in self.transformer_blocks:
            hidden = block(hidden)
        hidden = self.proj_out(hidden)
        return x + rearrange(
            hidden, "(b h w) f c -> (b f) c h w", b=x.shape[0] // num_frames, h=height
        )


class MotionModule(nn.Module):
    """A level of naming in AnimateDiff's keys around the temporal transformer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(*args, **kwargs)

    def forward(self, x: Tensor, num_frames: int) -> Tensor:
        """(b·f c h w) → (b·f c h w)."""
        return self.temporal_transformer(x, num_frames)


class MotionBlock(nn.Module):
    """The motion modules of one UNet level."""

    def __init__(self, num_modules: int, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.motion_modules = nn.ModuleList(
            MotionModule(*args, **kwargs) for _ in range(num_modules)
        )


class MotionModules(nn.Module):
    """All motion modules of a UNet, by location.

    Args:
        config: Kind, positional encoding, middle block.
        layout: Widths and depths of the UNet.
        operations: Namespace of layer classes: `torch.nn`, or ComfyUI's for its memory management.
    """

    def __init__(
        self, config: MotionConfig, layout: UNetLayout, *, operations: Any = nn, **factory: Any
    ) -> None:
        super().__init__()
        self.layout = layout
        self.position_length = config.max_frames

        def block(num_modules: int, channels: int) -> MotionBlock:
            return MotionBlock(
                num_modules,
                channels,
                config.num_heads,
                self.position_length,
                operations=operations,
                **factory,
            )

        depth = layout.layers_per_block
        self.down_blocks = nn.ModuleList(block(depth, c) for c in layout.block_channels)
        self.up_blocks = nn.ModuleList(block(depth + 1, c) for c in reversed(layout.block_channels))
        self.mid_block = block(1, layout.block_channels[-1]) if config.has_middle else None
        self.by_location = self._by_location()

    def _by_location(self) -> dict[BlockLocation, MotionModule]:
        middle = [] if self.mid_block is None else [self.mid_block]
        modules = [
            module
            for block in (*self.down_blocks, *middle, *self.up_blocks)
            for module in cast("MotionBlock", block).motion_modules
        ]
        locations = [
            location for location, _ in layer_locations(self.layout) if location != MIDDLE or middle
        ]
        found = dict(zip(locations, modules, strict=True))
        return cast("dict[BlockLocation, MotionModule]", found)

    def initialise_weights(self) -> None:
        """Weights to start training from: identity at first, since every `proj_out` is zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm | nn.GroupNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        for transformer in self.modules():
            if isinstance(transformer, TemporalTransformer):
                nn.init.zeros_(transformer.proj_out.weight)
        self.make_positions()

    def make_positions(self) -> None:
        """Fills every positional encoding with sinusoids, as AnimateDiff's training starts."""
        for module in self.modules():
            if isinstance(module, PositionalEncoding):
                _, length, channels = module.pe.shape
                module.pe.copy_(sinusoidal_positions(length, channels))
