"""ComfyUI's layers as they are without dynamic VRAM: with weights before any are loaded."""

from __future__ import annotations

from typing import Any

import comfy.ops
import torch


class AllocatingLayers(comfy.ops.disable_weight_init):
    """For `operations`: modules that are asked for the shapes of their weights, or that train.

    Under dynamic VRAM ComfyUI's Linear has no weights until a file brings them. It leaves those
    alone that load a file in a way of their own.
    """

    class Linear(comfy.ops.disable_weight_init.Linear):
        """Loads as PyTorch does."""

        def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
            torch.nn.Linear._load_from_state_dict(self, *args, **kwargs)
