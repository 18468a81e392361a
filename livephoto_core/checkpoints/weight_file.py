"""Opening any weight file: names, dtypes and shapes first, data only when asked for."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .errors import CheckpointError
from .safetensors_header import LENGTH_BYTES, SafetensorsHeader, TensorInfo, read_header
from .torch_archive import DTYPE_NAMES, is_torch_archive, read_torch_archive

FLOAT_DTYPES = {
    name: dtype for dtype, name in DTYPE_NAMES.items() if name in ("F32", "F16", "BF16")
}
"""Weights are read in these. fp8 is refused: the formats this pack reads store no scales with it,
so such a file is only a worse copy of a 16-bit one."""


@dataclass(frozen=True)
class WeightFile:
    """A weight file whose names and shapes are known and whose data has not been touched.

    Args:
        path: The file.
        tensors: dtype and shape by name, as stored.
        load: Gives one tensor by name, mapped from the file where possible.
        metadata: Strings stored with the weights; empty for .ckpt files.
    """

    path: Path
    tensors: Mapping[str, TensorInfo]
    load: Callable[[str], Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)


def open_weight_file(path: str | os.PathLike[str]) -> WeightFile:
    """Opens a safetensors file or, safely, a torch archive (.ckpt, .pt, .pth), told by content.

    Raises:
        CheckpointError: If there is no such file, it cannot be read, or it is not a weight file.
    """
    path = Path(path)
    start = _first_bytes(path)
    if is_torch_archive(start):
        archive = read_torch_archive(path)
        return WeightFile(path, archive.tensors, archive.load)
    if start[LENGTH_BYTES : LENGTH_BYTES + 1] != b"{":
        raise CheckpointError(f"{path.name} {_what_it_is_instead(start)}.")
    header = read_header(path)
    return WeightFile(path, header.tensors, _safetensors_loader(path, header), header.metadata)


def _first_bytes(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise CheckpointError(f"{path.name} is a folder: choose a file in it.")
        if not stat.S_ISREG(mode):
            raise CheckpointError(f"{path.name} is not a regular file: choose a weight file.")
        with path.open("rb") as file:
            return file.read(512)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.name} does not exist: put it in models/livephoto or "
            "models/animatediff_models, or choose another file."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {error.strerror}.") from error


def _what_it_is_instead(start: bytes) -> str:
    if not start:
        return "is empty: download it again"
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, not the file it stands for: run 'git lfs pull' or download the "
            "file itself"
        )
    lowered = start.lower()
    if b"<html" in lowered or b"<!doctype" in lowered:
        return (
            "is a web page, not a weight file: use the page's download link, and sign in where "
            "the site demands it"
        )
    if start.isascii() and start.decode().replace("\n", " ").replace("\r", " ").isprintable():
        return f"is a text file that starts with {start[:40].decode()!r}: download it again"
    if start[:1] == b"\x80":
        return (
            "is a pickle in the format of torch before 1.6, which cannot be loaded safely: "
            "choose a .safetensors version of it"
        )
    if len(start) <= LENGTH_BYTES:
        return f"is cut off after {len(start)} bytes: download it again"
    return "is neither a safetensors file nor a torch archive: choose a weight file"


def _safetensors_loader(path: Path, header: SafetensorsHeader) -> Callable[[str], Tensor]:
    # One private mapping for all tensors; it holds no handle and goes with the last of them.
    mapped = functools.cache(lambda: _map(path))

    def load(name: str) -> Tensor:
        info, (start, stop) = header.tensors[name], header.offsets[name]
        dtype = FLOAT_DTYPES.get(info.dtype)
        if dtype is None:
            raise CheckpointError(
                f"{path.name}: {name} is stored as {info.dtype}. Choose a file whose weights are "
                f"{', '.join(FLOAT_DTYPES)}."
            )
        data = mapped()[start:stop]
        # A foreign writer may not align; torch views only aligned bytes.
        return (data.clone() if start % dtype.itemsize else data).view(dtype).view(info.shape)

    return load


def _map(path: Path) -> Tensor:
    try:
        storage = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}") from error
    assert isinstance(storage, torch.UntypedStorage), "torch annotates the base class"
    return torch.empty(0, dtype=torch.uint8).set_(storage)
