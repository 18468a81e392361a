"""Safe reading of .ckpt, .pt and .pth files, which are pickles in a zip archive."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import CheckpointError
from .safetensors_header import MAX_TENSORS, TensorInfo

FIRST_SAFE_TORCH = (2, 6)
"""Before, `torch.load(weights_only=True)` could run code from the file (CVE-2025-32434)."""

MAX_PICKLE_BYTES = 16 * 2**20
WRAPPERS = ("state_dict", "module")
"""Training scripts wrap the weights in one of these entries."""

DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class TorchArchive:
    """Names and shapes in a torch archive; `load` gives a tensor mapped from it."""

    tensors: Mapping[str, TensorInfo]
    load: Callable[[str], Tensor]


def is_torch_archive(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a zip archive."""
    return start.startswith(b"PK\x03\x04")


def read_torch_archive(path: Path) -> TorchArchive:
    """Reads the names and shapes of a torch archive; its tensors stay mapped from the file.

    Raises:
        CheckpointError: On torch before 2.6, or if the archive is damaged, compressed, or holds
            anything that is not plain data and tensors.
    """
    check_torch_is_safe(path, torch.__version__)
    _check_zip(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # A hostile pickle can raise any of them.
        raise CheckpointError(
            f"{path.name} cannot be loaded safely ({type(error).__name__}): it is damaged or holds "
            "more than weights; choose a .safetensors version of it."
        ) from error
    weights = _unwrap(path, content)
    tensors = {name: _tensor_info(path, name, tensor) for name, tensor in weights.items()}
    return TorchArchive(tensors, lambda name: weights[name].detach().contiguous())


def check_torch_is_safe(path: Path, torch_version: str) -> None:
    """Raises CheckpointError if this torch version cannot load pickles safely."""
    major, minor = (int(part) for part in torch_version.split(".")[:2])
    if (major, minor) < FIRST_SAFE_TORCH:
        raise CheckpointError(
            f"{path.name} is a pickle, which torch {torch_version} cannot load safely: update "
            "torch to 2.6 or later, or choose a .safetensors version of the file."
        )


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} is cut off or damaged ({error}): download it again."
        ) from error
    pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    # torch stores, never compresses: a compressed archive could unpack to any size.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or len(pickles) != 1:
        raise CheckpointError(
            f"{path.name} is a zip archive, but not one that torch wrote: unpack it, or choose a "
            "weight file."
        )
    if pickles[0].file_size > MAX_PICKLE_BYTES or len(entries) > MAX_TENSORS:
        raise CheckpointError(
            f"{path.name} lists {len(entries):,} entries in {pickles[0].file_size:,} bytes, which "
            "no model file needs: it is damaged or made to do harm."
        )


def _unwrap(path: Path, content: Any) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path.name} holds a {type(content).__name__}, not named weights: choose a model file."
        )
    return {name: value for name, value in _named(content) if isinstance(value, Tensor)}


def _named(content: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Entries by name; those of a nested dictionary (IP-Adapter, embeddings) as "outer.inner"."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", item) for inner, item in value.items())
        else:
            yield str(key), value


def _tensor_info(path: Path, name: str, tensor: Tensor) -> TensorInfo:
    plain = tensor.layout is torch.strided and tensor.device.type == "cpu"
    # An expanded tensor of any size costs its writer nothing and its reader everything.
    if not plain or tensor.nbytes > tensor.untyped_storage().nbytes():
        raise CheckpointError(
            f"{path.name} stores {name[:80]!r} in a form that is not plain data: choose a "
            ".safetensors version of the file."
        )
    return TensorInfo(DTYPE_NAMES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))
