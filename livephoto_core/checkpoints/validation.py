"""Checks between a weight file and the modules it is meant for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..models.config import LivePhotoConfig
from ..models.livephoto import LivePhoto
from .errors import CheckpointError
from .safetensors_header import TensorInfo
from .weight_file import FLOAT_DTYPES

Shapes = Mapping[str, tuple[int, ...]]

# torch uses one thread for chunks of this size. That is as fast, for memory is the limit, and ten
# times faster on a busy machine, where waking the other threads takes longer than the work.
_CHUNK = 2**15 - 1


def expected_weights(path: Path, config: LivePhotoConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights that a config asks for; costs no memory.

    Raises:
        CheckpointError: If the config carries no part at all.
    """
    state_dict = LivePhoto(config, device="meta").state_dict()
    if not state_dict:
        raise CheckpointError(f"{path.name} carries no part of LivePhoto: choose another file.")
    return {name: tuple(tensor.shape) for name, tensor in state_dict.items()}


def check_weights(path: Path, found: Mapping[str, TensorInfo], expected: Shapes) -> None:
    """Compares names, shapes and dtypes before any data is read.

    Raises:
        CheckpointError: At the first difference.
    """
    _check_names(path, found.keys(), expected.keys())
    for name, info in found.items():
        if info.shape != expected[name]:
            raise CheckpointError(
                f"{path.name} has weights of another size: {name} is {_show(info.shape)} where "
                f"{_show(expected[name])} is expected; choose a file made for this model."
            )
        if info.dtype not in FLOAT_DTYPES:
            raise CheckpointError(
                f"{path.name} stores {name} as {info.dtype}: choose a file in fp32, fp16 or bf16."
            )


def check_finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError, naming the tensor, if a value is NaN or infinite."""
    for name, tensor in weights.items():
        if not all(map(_is_finite, tensor.detach().flatten().split(_CHUNK))):
            raise CheckpointError(
                f"{path.name} has broken weights: {name} contains NaN or infinity; download it "
                "again, or choose an earlier checkpoint of the training."
            )


def _is_finite(values: Tensor) -> bool:
    # One pass without a temporary: NaN carries through both, infinity is one of them.
    return all(math.isfinite(value) for value in torch.aminmax(values))


def _check_names(path: Path, found: Iterable[str], expected: Iterable[str]) -> None:
    missing, unknown = sorted({*expected} - {*found}), sorted({*found} - {*expected})
    if missing:
        raise CheckpointError(
            f"{path.name} lacks {len(missing)} of {len([*expected])} weights, such as "
            f"{missing[0]}: it is incomplete or of another version; download it again."
        )
    if unknown:
        raise CheckpointError(
            f"{path.name} has {len(unknown)} weights that do not belong to it, such as "
            f"{unknown[0][:120]}: it is of another version; choose the original file."
        )


def _show(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a single number"
