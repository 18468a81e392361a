"""A DINOv2 out of one local file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..models.content_encoder import build_dinov2, check_names
from .weight_file import open_weight_file

if TYPE_CHECKING:
    from transformers import Dinov2Model


def read_dinov2(path: str | os.PathLike[str]) -> tuple[Dinov2Model, str]:
    """The model and its name, see `build_dinov2`.

    Raises:
        ValueError: If the file is damaged, or holds another kind of model: that is known before any
            of its weights are read.
    """
    file = open_weight_file(path)
    keys = check_names(file.tensors).values()
    return build_dinov2({key: file.load(key) for key in keys})
