"""Multi-head attention on already projected queries, keys and values."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

MAX_CUDA_GRID = 65535
"""CUDA kernels of scaled-dot-product attention put batch × heads into a grid axis of this size;
temporal attention at 512×512 has 8192 positions × 8 heads, one more than fits."""


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
    chunk_size = MAX_CUDA_GRID // num_heads
    if query.device.type == "cpu" and query.requires_grad:
        # Four times as fast as the fused kernel's backward pass on a CPU.
        out = (query * query.shape[-1] ** -0.5 @ key.mT).softmax(dim=-1) @ value
    elif query.shape[0] <= chunk_size:
        out = F.scaled_dot_product_attention(query, key, value)
    else:
        chunks = zip(*(x.split(chunk_size) for x in (query, key, value)), strict=True)
        out = torch.cat([F.scaled_dot_product_attention(*chunk) for chunk in chunks])
    return rearrange(out, "b h n d -> b n (h d)")
