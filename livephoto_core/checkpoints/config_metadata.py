"""`LivePhotoConfig` as the metadata strings of a native file, and back."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..models.config import (
    ContentConfig,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    TextReweightingConfig,
    UNetLayout,
)
from ..motion_intensity import are_edges

MAX_INTEGER = 2**16
MAX_ITEMS = 128
MAX_LATENT_CHANNELS = 64
MAX_LEVELS = 8
MAX_LAYERS = 16
NORM_GROUPS = 32

_ADDED_LATER = {"text_adapters": False}
"""Fields that files of format 1 may lack, with what their absence means. They are written only
where they differ from it, so that older readers still take every file that they can use."""


def encode_config(config: LivePhotoConfig) -> dict[str, str]:
    """One JSON string per field; nested parts are JSON objects, absent parts `null`."""
    return {
        name: json.dumps(value, allow_nan=False)
        for name, value in dataclasses.asdict(config).items()
        if name not in _ADDED_LATER or value != _ADDED_LATER[name]
    }


def decode_config(fields: Mapping[str, str]) -> LivePhotoConfig:
    """The inverse of `encode_config`.

    Raises:
        ValueError: If a field is missing, unknown, of the wrong type or out of range; the message
            starts with the field's name.
    """
    values = _ADDED_LATER | {name: _parse(name, text) for name, text in fields.items()}
    config = decode_dataclass(LivePhotoConfig, values)
    check_config(config)
    return config


def decode_dataclass(annotation: Any, value: Any, field: str = "") -> Any:
    """Builds a dataclass from parsed JSON, without trusting it.

    Args:
        annotation: The class. Its fields are dataclasses, tuples, literals, finite floats, texts
            and integers from 0 to `MAX_INTEGER`, or one of these or None.
        value: What `json.loads` gave for its `dataclasses.asdict`.
        field: Where the value stands, for messages.
    Raises:
        ValueError: Naming the field that is missing, unknown or of another type.
    """
    hints = get_type_hints(annotation)
    prefix = field + "." if field else ""
    if not isinstance(value, dict):
        raise ValueError(f"{field or 'it'}: {str(value)[:80]!r} is not an object")
    for name in hints.keys() ^ value.keys():
        problem = "is missing" if name in hints else "is unknown"
        raise ValueError(f"{prefix}{name[:80]}: {problem}")
    return annotation(
        **{name: _decode(hint, value[name], prefix + name) for name, hint in hints.items()}
    )


def check_config(config: LivePhotoConfig) -> None:
    """Raises ValueError, naming the field, if modules of this description could not be built."""
    _check_layout(config.layout)
    if config.motion is not None:
        _check_motion(config.motion, config.layout)
    if config.input_conditioning is not None:
        _check_input_conditioning(config.input_conditioning)
    if config.content is not None:
        _check_content(config.content)
    if config.text_reweighting is not None:
        _check_text_reweighting(config.text_reweighting, config.layout)
    _require("num_frames", config.num_frames >= 1, config.num_frames)
    _require("training_size_px", min(config.training_size_px) >= 1, config.training_size_px)
    edges = config.ssim_edges
    if edges is not None:
        in_range = all(-1 <= edge <= 1 for edge in edges)
        _require("ssim_edges", are_edges(edges) and in_range, edges)


def _check_layout(layout: UNetLayout) -> None:
    levels, channels = len(layout.block_channels), layout.block_channels
    groups = all(width > 0 and width % NORM_GROUPS == 0 for width in channels)
    _require("layout.block_channels", 1 <= levels <= MAX_LEVELS and groups, channels)
    _require_between("layout.layers_per_block", layout.layers_per_block, MAX_LAYERS)
    known = set(layout.attention_levels) <= set(range(levels))
    _require("layout.attention_levels", known, layout.attention_levels)
    _require_between("layout.context_dim", layout.context_dim, MAX_INTEGER)
    _require_divides("layout.num_heads", layout.num_heads, channels)
    _require_between("layout.latent_channels", layout.latent_channels, MAX_LATENT_CHANNELS)


def _check_motion(motion: MotionConfig, layout: UNetLayout) -> None:
    if motion.position_length is not None:
        _require_between("motion.position_length", motion.position_length, MAX_INTEGER)
    _require_divides("motion.num_heads", motion.num_heads, layout.block_channels)


def _check_input_conditioning(part: InputConditioningConfig) -> None:
    distinct = len(set(part.channels)) == len(part.channels) > 0
    _require("input_conditioning.channels", distinct, part.channels)


def _check_content(content: ContentConfig) -> None:
    _require_between("content.encoder_dim", content.encoder_dim, MAX_INTEGER)
    _require_between("content.token_dim", content.token_dim, MAX_INTEGER)


def _check_text_reweighting(part: TextReweightingConfig, layout: UNetLayout) -> None:
    _require_between("text_reweighting.num_layers", part.num_layers, MAX_LAYERS)
    _require_divides("text_reweighting.num_heads", part.num_heads, (layout.context_dim,))
    _require_between("text_reweighting.num_frames", part.num_frames, MAX_INTEGER)


def _require(field: str, holds: bool, value: Any) -> None:
    if not holds:
        raise ValueError(f"{field}: {str(value)[:80]} is out of range")


def _require_between(field: str, value: int, most: int) -> None:
    _require(field, 1 <= value <= most, value)


def _require_divides(field: str, heads: int, widths: tuple[int, ...]) -> None:
    _require(field, heads >= 1 and all(width % heads == 0 for width in widths), heads)


def _parse(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {str(error)[:80]}") from error


def _decode(annotation: Any, value: Any, field: str) -> Any:
    """Builds a value of an annotated type from JSON."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return None if value is None else _decode(inner, value, field)
    if dataclasses.is_dataclass(annotation):
        return decode_dataclass(annotation, value, field)
    if origin is tuple:
        return _decode_tuple(args, value, field)
    if origin is Literal:
        fits = isinstance(value, str) and value in args
    elif annotation is float:
        fits = type(value) in (int, float) and abs(value) <= sys.float_info.max
    elif annotation is int:
        fits = type(value) is int and 0 <= value <= MAX_INTEGER
    else:
        fits = type(value) is annotation
    if not fits:
        raise ValueError(f"{field}: {str(value)[:80]!r} is not allowed")
    return float(value) if annotation is float else value


def _decode_tuple(args: tuple[Any, ...], value: Any, field: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise ValueError(f"{field}: {str(value)[:80]!r} is not a short list")
    kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
    if len(kinds) != len(value):
        raise ValueError(f"{field}: {len(kinds)} values expected, {len(value)} found")
    return tuple(_decode(kind, item, field) for kind, item in zip(kinds, value, strict=True))
