"""Attention for training: ComfyUI's own choice for sampling need not have a gradient."""

from __future__ import annotations

from typing import Any

from comfy.ldm.modules.attention import attention_basic, attention_pytorch
from torch import Tensor


def differentiable_attention(_: Any, q: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """For `transformer_options["optimized_attention_override"]`.

    On a GPU PyTorch's fused attention. On a CPU plain matrix products: the fused kernel's backward
    pass takes a third of a training step there.
    """
    attention = attention_basic if q.device.type == "cpu" else attention_pytorch
    return attention(q, *args, **kwargs)
