"""Writing safetensors files: the same input gives the same bytes, in one step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..atomic_files import replacing
from .errors import CheckpointError
from .safetensors_header import LENGTH_BYTES, METADATA_KEY
from .torch_archive import DTYPE_NAMES


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Writes a safetensors file; what was at `path` stays untouched unless all of it is on disk.

    Raises:
        CheckpointError: If the disk is full or refuses.
    """
    # Widest first: then every tensor lies at a multiple of its item size.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    try:
        with replacing(path) as file:
            file.write(_header({name: tensors[name] for name in names}, metadata))
            for name in names:
                flat = tensors[name].detach().cpu().contiguous().flatten()
                file.write(flat.view(torch.uint8).numpy().data)
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be written: {error.strerror}.") from error


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {METADATA_KEY: dict(sorted(metadata.items()))}
    position = 0
    for name, tensor in tensors.items():
        entries[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [position, position + tensor.nbytes],
        }
        position += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text
