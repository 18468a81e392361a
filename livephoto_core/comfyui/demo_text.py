"""The tiny base model's text encoder: ComfyUI's tokenizer and CLIPTextModel, a small embedding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import torch
from comfy.clip_model import CLIPTextModel
from comfy.sd1_clip import SD1Tokenizer
from torch import Tensor, nn

from ..shapes.base_model import END_TOKEN, START_TOKEN, BaseConfig
from .allocating_layers import AllocatingLayers

NUM_TOKENS = 77
UNKNOWN_ROW = 0
"""Row of the stored embedding that stands for every token the text encoder does not know."""


def text_encoder_params(config: BaseConfig) -> dict[str, Any]:
    """Configuration of ComfyUI's CLIPTextModel."""
    width = config.unet.context_dim
    return {
        "num_hidden_layers": config.text_encoder.num_layers,
        "hidden_size": width,
        "num_attention_heads": config.text_encoder.num_heads,
        "intermediate_size": 4 * width,
        "hidden_act": "quick_gelu",
        "max_position_embeddings": NUM_TOKENS,
        "eos_token_id": END_TOKEN,
    }


class _LayerNorm(AllocatingLayers.LayerNorm):
    """Keeps a copy of what it normalised: CLIPLayer then adds to its input in place."""

    def forward(self, *args: Tensor) -> Tensor:
        (x,) = args
        return super().forward(x.clone() if torch.is_grad_enabled() else x)


class _TextOperations(AllocatingLayers):
    LayerNorm = _LayerNorm


class TextEncoder(nn.Module):
    """ComfyUI's CLIPTextModel in fp32 whose embedding has rows for the known tokens only.

    Its weights are not yet set.
    """

    def __init__(self, config: BaseConfig, *, device: str = "cpu") -> None:
        super().__init__()
        params = text_encoder_params(config)
        self.text_model = CLIPTextModel(params, torch.float32, device, _TextOperations).text_model
        num_rows = 1 + len(config.text_encoder.token_ids)
        self.text_model.embeddings.token_embedding = _TextOperations.Embedding(
            num_rows, params["hidden_size"], dtype=torch.float32, device=device
        )

    def forward(self, rows: Tensor) -> Tensor:
        """Encodes sentences.

        Args:
            rows: Of the embedding, (b 77), see `embedding_rows`.
        Returns:
            Text tokens as CLIPTextEncode gives them, (b 77 d).
        """
        embedded = self.text_model.embeddings.token_embedding(rows)
        # The count is for the pooled output, which SD-1.5 does not use.
        return self.text_model(embeds=embedded, num_tokens=[1] * len(rows))[0]


class CaptionEncoder:
    """Captions to text tokens, as CLIPTextEncode gives them for the same words.

    Args:
        config: Describes the text encoder.
        weights: Its part of the base model's file.
    """

    def __init__(self, config: BaseConfig, weights: Mapping[str, Tensor]) -> None:
        self._config = config
        self._module = TextEncoder(config).requires_grad_(False).eval()
        self._module.load_state_dict({name: tensor.float() for name, tensor in weights.items()})

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """(b 77 d), float32."""
        tokens = torch.tensor([clip_tokens(caption) for caption in captions])
        with torch.no_grad():
            return self._module(embedding_rows(tokens, self._config))


def embedding_rows(tokens: Tensor, config: BaseConfig) -> Tensor:
    """Rows of the stored embedding for CLIP's token numbers, of the same shape.

    Unknown tokens all get `UNKNOWN_ROW`, which training shows in place of random words.
    """
    ids = torch.tensor(config.text_encoder.token_ids)
    place = torch.searchsorted(ids, tokens).clamp(max=len(ids) - 1)
    return torch.where(ids[place] == tokens, place + 1, UNKNOWN_ROW)


def full_embedding(rows: Tensor, config: BaseConfig) -> Tensor:
    """CLIP's whole embedding (49408 d), unknown tokens sharing one row, from the stored (n d)."""
    return rows[embedding_rows(torch.arange(END_TOKEN + 1), config)]


@lru_cache(maxsize=2**16)
def clip_tokens(caption: str) -> tuple[int, ...]:
    """A caption's 77 tokens as CLIPTextEncode sees them, start, end and padding included.

    Args:
        caption: Plain words, short enough for one chunk, without ComfyUI's brackets.
    """
    (chunk,) = _tokenizer().tokenize_with_weights(caption)["l"]
    return tuple(token for token, _ in chunk)


def known_token_ids(words: Iterable[str]) -> tuple[int, ...]:
    """CLIP's numbers of all tokens in these words, with the special ones, ascending."""
    tokens = {token for word in words for token in clip_tokens(word)}
    return tuple(sorted(tokens | {START_TOKEN, END_TOKEN}))


@cache
def _tokenizer() -> SD1Tokenizer:
    return SD1Tokenizer()
