"""Clones of a MODEL that live for one run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from comfy.sampler_helpers import cond_has_hooks

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


@contextmanager
def passing(clone: ModelPatcher) -> Iterator[ModelPatcher]:
    """A clone whose end leaves its MODEL unpatched, and the weights of that pinned.

    What a clone has replaced in the model ComfyUI puts back only when it is loaded again.

    Weights that do not fit on the GPU lie in pinned memory, from where they are copied faster. All
    clones share the list of them, and ComfyUI unpins whatever is on it when any clone goes; it
    would not pin them again while the model stays loaded. The MODEL itself still has the list, and
    unpins when it goes.
    """
    try:
        yield clone
    finally:
        clone.unpatch_model(unpatch_weights=False)
        clone.pinned = set()


def for_hooks(model: ModelPatcher, *conditionings: list[Any]) -> ModelPatcher:
    """The MODEL that ComfyUI samples with where a conditioning has hooks, LoRAs for example.

    Under dynamic VRAM that is a copy, for which it reads the checkpoint again and which it
    remembers on the MODEL that it asks: asked of a clone, it would be gone after the run.
    """
    dynamic: Any = model
    if dynamic.is_dynamic() and any(map(cond_has_hooks, conditionings)):
        return dynamic.get_non_dynamic_delegate()
    return model
