"""Names of the blocks of an SD-1.5-family UNet, in ldm's numbering."""

from __future__ import annotations

from .config import UNetLayout

BlockLocation = tuple[str, int]
"""A block in ldm's (and ComfyUI's) numbering: ("input", 0…), ("middle", 0) or ("output", 0…)."""


def location_name(location: BlockLocation) -> str:
    """Name of a block in state-dict keys: ("input", 1) → "input_1"."""
    return f"{location[0]}_{location[1]}"


MIDDLE: BlockLocation = ("middle", 0)


def layer_locations(layout: UNetLayout) -> list[tuple[BlockLocation, int]]:
    """Every block of layers and its level (0 is the finest), in the order they run.

    ldm counts a level's downsampler, and `conv_in`, as input blocks of their own, which have no
    layers; an upsampler belongs to its level's last block.
    """
    depth, levels = layout.layers_per_block, range(len(layout.block_channels))
    down = [
        (("input", 1 + level * (depth + 1) + layer), level)
        for level in levels
        for layer in range(depth)
    ]
    up = [
        (("output", (levels[-1] - level) * (depth + 1) + layer), level)
        for level in reversed(levels)
        for layer in range(depth + 1)
    ]
    return [*down, (MIDDLE, levels[-1]), *up]


def attention_locations(layout: UNetLayout) -> list[tuple[BlockLocation, int]]:
    """Every block that has a SpatialTransformer, with its channels, in the order they run."""
    return [
        (location, layout.block_channels[level])
        for location, level in layer_locations(layout)
        if location == MIDDLE or level in layout.attention_levels
    ]


def resblock_locations(layout: UNetLayout) -> list[BlockLocation]:
    """Every input and output block that starts with a ResBlock, in the order they run."""
    return [location for location, _ in layer_locations(layout) if location != MIDDLE]
