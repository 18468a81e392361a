"""Text re-weighting (LivePhoto, section 3.5, figure 3): a weight for every text token and frame.

Three transformer encoder layers and a frame-specific linear layer read the text tokens; a sigmoid
makes weights from 0 to 1, with which the tokens are multiplied. Our choices where the paper is
silent: pre-norm layers with GELU and a four times wider feed-forward, no dropout, no positional
encoding (CLIP's tokens know their place), and each 77-token chunk of a long prompt on its own, as
CLIP encodes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import multi_head_attention
from .config import TextReweightingConfig

CHUNK_TOKENS = 77
INITIAL_WEIGHT = 0.98
NOT_A_WORD = -1


class EncoderLayer(nn.Module):
    """A pre-norm transformer encoder layer: self-attention, then a feed-forward."""

    def __init__(self, token_dim: int, num_heads: int, *, operations: Any, **factory: Any) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = operations.LayerNorm(token_dim, **factory)
        self.to_qkv = operations.Linear(token_dim, 3 * token_dim, **factory)
        self.to_out = operations.Linear(token_dim, token_dim, **factory)
        self.feed_forward_norm = operations.LayerNorm(token_dim, **factory)
        self.expand = operations.Linear(token_dim, 4 * token_dim, **factory)
        self.contract = operations.Linear(4 * token_dim, token_dim, **factory)

    def forward(self, tokens: Tensor) -> Tensor:
        """(b n d) → (b n d)."""
        query, key, value = self.to_qkv(self.attention_norm(tokens)).chunk(3, dim=-1)
        attended = multi_head_attention(query, key, value, self.num_heads)
        tokens = tokens + self.to_out(attended)
        return tokens + self.contract(F.gelu(self.expand(self.feed_forward_norm(tokens))))


class TextReweighting(nn.Module):
    """Predicts how much each text token should count in each frame.

    Args:
        config: Layers, heads and frames.
        token_dim: Width d of a text token.
        dtype, device: Of the parameters.
        operations: Where Linear and LayerNorm come from; ComfyUI passes its own.
    Raises:
        ValueError: If the heads do not divide `token_dim`.
    """

    def __init__(
        self,
        config: TextReweightingConfig,
        token_dim: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        operations: Any = nn,
    ) -> None:
        super().__init__()
        if token_dim % config.num_heads:
            raise ValueError(
                f"token_dim must be a multiple of the {config.num_heads} heads of the text "
                f"re-weighting, got {token_dim}. Set num_heads in TextReweightingConfig."
            )
        factory = {"dtype": dtype, "device": device}
        self.token_dim = token_dim
        self.layers = nn.ModuleList(
            EncoderLayer(token_dim, config.num_heads, operations=operations, **factory)
            for _ in range(config.num_layers)
        )
        self.norm = operations.LayerNorm(token_dim, **factory)
        self.to_frames = operations.Linear(token_dim, config.num_frames, **factory)

    def initialise_weights(self) -> None:
        """Sets the weights a training starts from: every token weight is 0.98.

        Needed because ComfyUI's layers do not initialise themselves. The frozen UNet knows
        unweighted text, so a training should start next to it. Exactly 1 is out of a sigmoid's
        reach, and at weight w its gradient is w·(1 − w): 0.98 changes the text by 2 % and still
        learns, where 0.999 would pass on only a twentieth of that gradient.
        """
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.to_frames.weight)
        nn.init.constant_(self.to_frames.bias, math.log(INITIAL_WEIGHT / (1 - INITIAL_WEIGHT)))

    def forward(self, tokens: Tensor, num_frames: int) -> Tensor:
        """The weight of every token in every frame.

        Args:
            tokens: CLIP text tokens, (b n d), n = 77 · k.
            num_frames: Frames of the clip. Where it is not the trained number, the frame axis of
                the linear layer is interpolated linearly; first and last frame stay as trained.
        Returns:
            (b f n), 0 to 1.
        Raises:
            ValueError: If the tokens are no 77-token chunks of width d, or there is no frame.
        """
        self._check(tokens, num_frames)
        batch = tokens.shape[0]
        tokens = rearrange(tokens, "b (k n) d -> (b k) n d", n=CHUNK_TOKENS)
        for layer in self.layers:
            tokens = layer(tokens)
        # Interpolating the outputs equals interpolating the layer, which is linear.
        logits = interpolate_frames(self.to_frames(self.norm(tokens)), num_frames)
        return rearrange(logits.sigmoid(), "(b k) n f -> b f (k n)", b=batch)

    def _check(self, tokens: Tensor, num_frames: int) -> None:
        if tokens.ndim != 3 or tokens.shape[-1] != self.token_dim:
            raise ValueError(
                f"tokens must be (b n {self.token_dim}), got {tuple(tokens.shape)}. "
                "Use the text encoder of the checkpoint the file was trained for (SD 1.5: 768)."
            )
        if tokens.shape[1] == 0 or tokens.shape[1] % CHUNK_TOKENS:
            raise ValueError(
                f"tokens must come in chunks of {CHUNK_TOKENS}, as CLIP encodes them, "
                f"got {tokens.shape[1]}. Re-weight the text before other tokens are appended to it."
            )
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {num_frames}.")


def interpolate_frames(values: Tensor, num_frames: int) -> Tensor:
    """Values resampled linearly along their last axis, ends kept exactly.

    Args:
        values: (… f), one per trained frame.
        num_frames: Frames wanted. A single one gets the first value.
    Returns:
        (… num_frames).
    """
    last = values.shape[-1] - 1
    positions = torch.linspace(0, last, num_frames, device=values.device)
    before = positions.long()
    after = (before + 1).clamp(max=last)
    fraction = (positions - before).to(values.dtype)
    return torch.lerp(values[..., before], values[..., after], fraction)


def apply_weights(tokens: Tensor, weights: Tensor) -> Tensor:
    """Text tokens of every frame, each multiplied by its weight.

    Args:
        tokens: (b n d).
        weights: (b f n).
    Returns:
        (b f n d), dtype of `tokens`.
    Raises:
        ValueError: If b or n differ.
    """
    if weights.ndim != 3 or tokens.ndim != 3 or weights[:, 0].shape != tokens.shape[:2]:
        raise ValueError(
            f"weights must be (b f n) for tokens (b n d), got {tuple(weights.shape)} "
            f"for {tuple(tokens.shape)}."
        )
    return torch.einsum("bnd,bfn->bfnd", tokens, weights.to(tokens))


def scale_weights(weights: Tensor, strength: float) -> Tensor:
    """Weights moved towards 1 or away from it: 1 + strength · (w − 1), never below 0.

    Args:
        weights: Any shape.
        strength: 0 leaves the text as it is, 1 is the paper's re-weighting, more exaggerates it.
    Raises:
        ValueError: If `strength` is negative or not finite.
    """
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength must be 0 or more, got {strength}.")
    return (1 + strength * (weights - 1)).clamp(min=0)


def average_over_words(weights: Tensor, word_ids: Sequence[int]) -> Tensor:
    """One weight per word for display: the mean over the word's tokens (figure 3).

    Args:
        weights: (… n).
        word_ids: For each token the index of its word, rising from 0 without gaps, or −1 for start,
            end and padding tokens.
    Returns:
        (… w), in the order of the words; w is 0 where there are no words.
    Raises:
        ValueError: If there is not one id per token, or a word has no token.
    """
    ids = _check_word_ids(weights, word_ids)
    num_words = int(ids.max().item()) + 1 if len(ids) else 0
    membership = F.one_hot(ids[ids != NOT_A_WORD], num_words) if num_words else ids.new_zeros(0, 0)
    tokens_per_word = membership.sum(dim=0)
    if (tokens_per_word == 0).any():
        missing = (tokens_per_word == 0).nonzero().flatten().tolist()
        raise ValueError(f"word_ids must rise from 0 without gaps, but no token has {missing}.")
    sums = weights[..., ids != NOT_A_WORD] @ membership.to(weights)
    return sums / tokens_per_word.to(weights)


def override_words(
    weights: Tensor,
    word_ids: Sequence[int],
    *,
    words: Sequence[str],
    overrides: Mapping[str, float],
) -> Tensor:
    """Weights with those of chosen words replaced, in all frames and wherever the word occurs.

    Args:
        weights: (… n). Ones where the file has no re-weighting.
        word_ids: As for `average_over_words`.
        words: The words that the ids index.
        overrides: Word to weight, 0 or more; upper and lower case are the same.
    Returns:
        A new tensor, (… n).
    Raises:
        ValueError: If a word is not in `words`, or a weight is negative or not finite.
    """
    ids = _check_word_ids(weights, word_ids)
    spellings = [word.casefold() for word in words]
    weights = weights.clone()
    for word, weight in overrides.items():
        if word.casefold() not in spellings:
            raise ValueError(
                f"overrides name {word!r}, which is not in the prompt. Its words are: "
                f"{', '.join(words) or '(none)'}."
            )
        if not 0 <= weight < math.inf:
            raise ValueError(f"the weight of {word!r} must be 0 or more, got {weight}.")
        chosen = [i for i, spelling in enumerate(spellings) if spelling == word.casefold()]
        weights[..., torch.isin(ids, ids.new_tensor(chosen))] = weight
    return weights


def _check_word_ids(weights: Tensor, word_ids: Sequence[int]) -> Tensor:
    ids = torch.as_tensor(word_ids, dtype=torch.long, device=weights.device)
    if ids.shape != weights.shape[-1:]:
        raise ValueError(
            f"word_ids must hold one id for each of the {weights.shape[-1]} tokens, got {len(ids)}."
        )
    if (ids < NOT_A_WORD).any():
        raise ValueError(f"word_ids must be -1 or more, got {int(ids.min().item())}.")
    return ids
