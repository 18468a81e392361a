"""Names of the blocks of an SD-1.5-family UNet, in ldm's and in AnimateDiff's numbering."""

from __future__ import annotations

from .config import UNetLayout

BlockLocation = tuple[str, int]
"""A block in ldm's (and ComfyUI's) numbering: ("input", 0…), ("middle", 0) or ("output", 0…)."""


def location_name(location: BlockLocation) -> str:
    """Name of a block in state-dict keys: ("input", 1) → "input_1"."""
    return f"{location[0]}_{location[1]}"


def down_location(layout: UNetLayout, level: int, layer: int) -> BlockLocation:
    """Input block of `down_blocks.{level}`'s layer.

    Block 0 is `conv_in`; each level ends in a downsampler that takes an index of its own.
    """
    return ("input", 1 + level * (layout.layers_per_block + 1) + layer)


def up_location(layout: UNetLayout, up_block: int, layer: int) -> BlockLocation:
    """Output block of `up_blocks.{up_block}`'s layer; `up_blocks.0` is the coarsest level."""
    return ("output", up_block * (layout.layers_per_block + 1) + layer)


MIDDLE: BlockLocation = ("middle", 0)


def attention_locations(layout: UNetLayout) -> list[tuple[BlockLocation, int]]:
    """Every block that has a SpatialTransformer, with its channels, in the order they run."""
    num_levels = len(layout.block_channels)
    down = [
        (down_location(layout, level, layer), layout.block_channels[level])
        for level in range(num_levels)
        if level in layout.attention_levels
        for layer in range(layout.layers_per_block)
    ]
    up = [
        (up_location(layout, num_levels - 1 - level, layer), layout.block_channels[level])
        for level in reversed(range(num_levels))
        if level in layout.attention_levels
        for layer in range(layout.layers_per_block + 1)
    ]
    return [*down, (MIDDLE, layout.block_channels[-1]), *up]


def resblock_locations(layout: UNetLayout) -> list[BlockLocation]:
    """Every input and output block that starts with a ResBlock, in the order they run."""
    num_levels = len(layout.block_channels)
    down = [
        down_location(layout, level, layer)
        for level in range(num_levels)
        for layer in range(layout.layers_per_block)
    ]
    up = [
        up_location(layout, up_block, layer)
        for up_block in range(num_levels)
        for layer in range(layout.layers_per_block + 1)
    ]
    return [*down, *up]
