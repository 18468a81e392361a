"""A strict reader of safetensors headers.

ComfyUI's own reader trusts the header: it takes overlapping tensors, duplicate names and trailing
bytes. This one checks every figure against the file's size before any memory is spent on it.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .errors import CheckpointError

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 8 * 2**20
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8
METADATA_KEY = "__metadata__"

_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What is known of a tensor before its data is touched.

    Args:
        dtype: By its safetensors name, such as "F16".
        shape: Sizes of its dimensions.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SafetensorsHeader:
    """The checked header of a safetensors file.

    Args:
        tensors: dtype and shape by name.
        offsets: Bytes (from, to) in the file by name.
        metadata: The file's strings.
    """

    tensors: Mapping[str, TensorInfo]
    offsets: Mapping[str, tuple[int, int]]
    metadata: Mapping[str, str]


def read_header(path: Path) -> SafetensorsHeader:
    """Reads and checks the header of a safetensors file, and nothing else of it.

    Raises:
        CheckpointError: If the file is cut off, has bytes to spare, or its header is damaged.
    """
    with path.open("rb") as file:
        num_bytes = os.fstat(file.fileno()).st_size
        header_bytes = int.from_bytes(file.read(LENGTH_BYTES), "little")
        data_start = LENGTH_BYTES + header_bytes
        if header_bytes > MAX_HEADER_BYTES:
            raise CheckpointError(
                f"{path.name} claims a header of {header_bytes:,} bytes, which no model file "
                f"needs (limit {MAX_HEADER_BYTES:,}): it is damaged or made to do harm."
            )
        if data_start > num_bytes:
            raise _cut_off(path, data_start, num_bytes)
        raw = file.read(header_bytes)
    entries = _parse_json(path, raw)
    metadata = _metadata(path, entries.pop(METADATA_KEY, {}))
    tensors = {name: _tensor_info(path, name, entry) for name, entry in entries.items()}
    offsets = {
        name: (data_start + entry["data_offsets"][0], data_start + entry["data_offsets"][1])
        for name, entry in entries.items()
    }
    _check_layout(path, offsets, data_start, num_bytes)
    return SafetensorsHeader(tensors, offsets, metadata)


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} has a damaged header ({reason}): download or convert it again."
    )


def _cut_off(path: Path, expected: int, actual: int) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is cut off: it should have {expected:,} bytes and has {actual:,}: "
        "download it again."
    )


def _parse_json(path: Path, raw: bytes) -> dict[str, Any]:
    # Counted before parsing: a Python object for every bracket costs far more than the bracket.
    if max(raw.count(b"{"), raw.count(b"[")) > 2 * MAX_TENSORS:
        raise _damaged(path, f"more than {MAX_TENSORS:,} entries")
    try:
        entries = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"{type(error).__name__}: {str(error)[:80]}") from error
    if not raw.startswith(b"{") or not isinstance(entries, dict):
        raise _damaged(path, "it is not a JSON object")
    if len(entries) > MAX_TENSORS:
        raise _damaged(path, f"more than {MAX_TENSORS:,} entries")
    return entries


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _metadata(path: Path, metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise _damaged(path, "its metadata are not strings")
    return metadata


def _tensor_info(path: Path, name: str, entry: Any) -> TensorInfo:
    shown = repr(name[:80])
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"tensor {shown} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise _damaged(path, f"tensor {shown} has the unknown dtype {str(dtype)[:20]!r}")
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise _damaged(path, f"tensor {shown} has no valid shape")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _damaged(path, f"tensor {shown} has no valid data_offsets")
    if math.prod(shape) * _BITS[dtype] // 8 != offsets[1] - offsets[0]:
        raise _damaged(path, f"tensor {shown} has a shape that does not fit its data")
    return TensorInfo(dtype, tuple(shape))


def _are_counts(values: Any) -> bool:
    # bool is a subclass of int, and 64 bits are what the format's own reader can hold.
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )


def _check_layout(
    path: Path, offsets: Mapping[str, tuple[int, int]], data_start: int, num_bytes: int
) -> None:
    """Tensors must fill the rest of the file one after another, as the format demands."""
    position = data_start
    for name, (start, stop) in sorted(offsets.items(), key=lambda item: item[1]):
        if start != position:
            problem = "overlaps another" if start < position else "leaves a gap before it"
            raise _damaged(path, f"tensor {name[:80]!r} {problem}")
        position = stop
    if position > num_bytes:
        raise _cut_off(path, position, num_bytes)
    if position < num_bytes:
        raise _damaged(path, f"{num_bytes - position:,} bytes follow the last tensor")
