"""Multi-head attention on already projected queries, keys and values."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

MAX_BATCH = 2**15
"""CUDA kernels of scaled-dot-product attention put the batch into a grid axis that holds 65,535;
temporal attention has a batch of all positions, 8192 at 512×512 with guidance. ComfyUI splits at
this size too."""


def multi_head_attention(query: Tensor, key: Tensor, value: Tensor, num_heads: int) -> Tensor:
    """softmax(QKᵀ/√d)V with heads split from the last axis.

    Args:
        query: (b n c).
        key, value: (b m c).
        num_heads: Divides c.
    Returns:
        (b n c).
    """
    query, key, value = (
        rearrange(x, "b n (h d) -> b h n d", h=num_heads) for x in (query, key, value)
    )
    if query.device.type == "cpu" and query.requires_grad:
        # Four times as fast as the fused kernel's backward pass on a CPU.
        out = (query * query.shape[-1] ** -0.5 @ key.mT).softmax(dim=-1) @ value
    elif query.shape[0] <= MAX_BATCH:
        out = F.scaled_dot_product_attention(query, key, value)
    else:
        chunks = zip(*(x.split(MAX_BATCH) for x in (query, key, value)), strict=True)
        out = torch.cat([F.scaled_dot_product_attention(*chunk) for chunk in chunks])
    return rearrange(out, "b h n d -> b n (h d)")
