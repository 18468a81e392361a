"""The native format: one .safetensors with `LivePhoto`'s names, described by its metadata.

Every entry of ours in the metadata starts with `livephoto.`; all others belong to the user and are
kept. The version changes whenever a reader of the old one would misread the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..models.config import LivePhotoConfig
from .config_metadata import check_config, decode_config, encode_config
from .errors import CheckpointError
from .safetensors_header import TensorInfo
from .safetensors_writer import write_safetensors
from .torch_archive import DTYPE_NAMES
from .validation import check_finite, check_weights, expected_weights

FORMAT_VERSION = 1
PREFIX = "livephoto."
VERSION_KEY = f"{PREFIX}format_version"


def is_native(metadata: Mapping[str, str]) -> bool:
    """Whether a file's metadata say that it is in the native format."""
    return VERSION_KEY in metadata


def native_config(path: Path, metadata: Mapping[str, str]) -> LivePhotoConfig:
    """The description a native file carries.

    Raises:
        CheckpointError: If a newer version of the pack wrote it, or it is damaged.
    """
    version = metadata[VERSION_KEY]
    if not (version.isascii() and version.isdigit() and 0 < len(version) < 10):
        raise CheckpointError(
            f"{path.name} has no valid format version ({version[:20]!r}): it is damaged."
        )
    if int(version) > FORMAT_VERSION:
        raise CheckpointError(
            f"{path.name} was written by a newer version of this pack (format {version}, this "
            f"one reads up to {FORMAT_VERSION}): update the pack."
        )
    fields = {
        key.removeprefix(PREFIX): text
        for key, text in metadata.items()
        if key.startswith(PREFIX) and key != VERSION_KEY
    }
    try:
        return decode_config(fields)
    except ValueError as error:
        raise CheckpointError(
            f"{path.name} has a damaged LivePhoto description ({error}): get it again."
        ) from error


def user_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The entries of a file's metadata that are not part of the native description."""
    return {key: text for key, text in metadata.items() if not key.startswith(PREFIX)}


def write_checkpoint(
    path: str | os.PathLike[str],
    config: LivePhotoConfig,
    state_dict: Mapping[str, Tensor],
    *,
    extra_metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a native file in one step: after a crash there is the old file or the whole new one.

    Args:
        path: Ends in .safetensors; a file that is there is replaced.
        config: Describes the weights.
        state_dict: Of `LivePhoto(config)`, in fp32, fp16 or bf16, on any device.
        extra_metadata: Further entries to keep with the weights.
    Raises:
        ValueError: If the config could not be built, or an extra entry is not a string or has a
            name of ours.
        CheckpointError: If the weights do not belong to the config, are not finite, or cannot be
            written.
    """
    path, extra = Path(path), dict(extra_metadata or {})
    check_config(config)
    for key, text in extra.items():
        if key.startswith(PREFIX) or not isinstance(text, str):
            raise ValueError(
                f"extra_metadata[{key!r}] must be a string, under a name without {PREFIX!r}."
            )
    found = {
        name: TensorInfo(DTYPE_NAMES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))
        for name, tensor in state_dict.items()
    }
    check_weights(path, found, expected_weights(path, config))
    check_finite(path, state_dict)
    description = {PREFIX + name: text for name, text in encode_config(config).items()}
    write_safetensors(path, state_dict, {VERSION_KEY: str(FORMAT_VERSION), **description, **extra})
