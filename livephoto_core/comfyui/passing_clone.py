"""Clones of a MODEL that live for one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


@contextmanager
def passing(clone: ModelPatcher) -> Iterator[ModelPatcher]:
    """A clone whose end leaves the weights of its MODEL pinned.

    Weights that do not fit on the GPU lie in pinned memory, from where they are copied faster. All
    clones share the list of them, and ComfyUI unpins whatever is on it when any clone goes; it
    would not pin them again while the model stays loaded. The MODEL itself still has the list, and
    unpins when it goes.
    """
    try:
        yield clone
    finally:
        clone.pinned = set()
