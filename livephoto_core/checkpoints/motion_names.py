"""Names of motion weights: AnimateDiff's, which are ours, and diffusers' for the same modules."""

from __future__ import annotations

import re

_LOCATION = re.compile(r"^((?:(?:down|up)_blocks\.\d+|mid_block)\.motion_modules\.\d+)\.(.+)$")
_TRANSFORMER = "temporal_transformer."
_DIFFUSERS_PARTS = (
    (".attn1.", ".attention_blocks.0."),
    (".attn2.", ".attention_blocks.1."),
    (".norm1.", ".norms.0."),
    (".norm2.", ".norms.1."),
    (".norm3.", ".ff_norm."),
)
_DIFFUSERS_POSITIONS = ".pos_embed.pe"
POSITIONS = ".pos_encoder.pe"


def motion_location(name: str) -> tuple[str, str] | None:
    """("down_blocks.0.motion_modules.1", the rest) of a motion weight's name, else `None`."""
    found = _LOCATION.match(name)
    return (found[1], found[2]) if found else None


def is_diffusers_name(name: str) -> bool:
    """Whether a motion weight has the name diffusers' MotionAdapter gives it."""
    location = motion_location(name)
    return location is not None and not location[1].startswith(_TRANSFORMER)


def animatediff_names(name: str) -> tuple[str, ...]:
    """AnimateDiff's names for a motion weight in either naming.

    There are two for a positional encoding of diffusers, which serves both attentions of a block
    where AnimateDiff has one for each.
    """
    location = motion_location(name)
    if location is None or not is_diffusers_name(name):
        return (name,)
    place, rest = location
    rest = f"{place}.{_TRANSFORMER}{rest}"
    if rest.endswith(_DIFFUSERS_POSITIONS):
        block = rest.removesuffix(_DIFFUSERS_POSITIONS)
        return tuple(f"{block}.attention_blocks.{index}{POSITIONS}" for index in (0, 1))
    for theirs, ours in _DIFFUSERS_PARTS:
        rest = rest.replace(theirs, ours)
    return (rest,)
