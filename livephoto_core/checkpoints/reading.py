"""Reading any file that LivePhotoLoader accepts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..models.config import LivePhotoConfig
from .animatediff import read_motion_file
from .foreign_files import ForeignFile
from .native import native_config, user_metadata
from .recognise import recognise, wrong_file
from .validation import check_finite, check_weights, expected_weights
from .weight_file import WeightFile, open_weight_file

_WANTED = "a motion model"
_MOTION_LORA = ForeignFile(
    "a motion LoRA",
    "choose it as the motion_lora of Load LivePhoto, and a motion model as its file",
)


@dataclass(frozen=True)
class Checkpoint:
    """The checked content of a weight file.

    Args:
        config: Which parts it carries.
        state_dict: Exactly the weights of `LivePhoto(config)`, in the dtypes of the file. They are
            mapped from the file: reading costs no memory until they are copied into modules.
        metadata: The file's other metadata.
    """

    config: LivePhotoConfig
    state_dict: dict[str, Tensor]
    metadata: Mapping[str, str]


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a LivePhoto, AnimateDiff, PIA or AnimateLCM file, or a diffusers motion adapter.

    Header, names, shapes, dtypes and finiteness are checked before anything is returned.

    Raises:
        CheckpointError: If the file is something else, damaged or unsafe; one sentence that names
            the file, what it is and what to do.
    """
    file = open_weight_file(path)
    found = recognise(file)
    if found == "motion LoRA":
        found = _MOTION_LORA
    if isinstance(found, ForeignFile):
        raise wrong_file(file, found, _WANTED)
    config, state_dict = _read_native(file) if found == "native" else read_motion_file(file)
    return Checkpoint(config, state_dict, user_metadata(file.metadata))


def _read_native(file: WeightFile) -> tuple[LivePhotoConfig, dict[str, Tensor]]:
    config = native_config(file.path, file.metadata)
    check_weights(file.path, file.tensors, expected_weights(file.path, config))
    state_dict = {name: file.load(name) for name in file.tensors}
    check_finite(file.path, state_dict)
    return config, state_dict
