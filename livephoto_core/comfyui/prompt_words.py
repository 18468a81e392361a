"""Which tokens of a conditioning belong to which word of the sentence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import comfy.sd1_clip
import folder_paths
from comfy_execution.graph import DynamicPrompt
from comfy_execution.graph_utils import is_link
from torch import Tensor

_START, _END = 49406, 49407
_TEXT_NODES = ("PrimitiveString", "PrimitiveStringMultiline")


@dataclass(frozen=True)
class PromptWords:
    """A sentence as CLIP's tokenizer cuts it.

    Args:
        words: In the order of the sentence, lower case, punctuation marks as words of their own.
        token_words: For every token of the conditioning the index of its word, −1 for start, end
            and padding, (n).
    """

    words: list[str]
    token_words: list[int]


def prompt_words(text: str) -> PromptWords:
    """Words of a prompt, with ComfyUI's syntax for weights and embeddings taken into account."""
    tokenizer = _tokenizer(tuple(folder_paths.get_folder_paths("embeddings")))
    words: list[str] = []
    token_words: list[int] = []
    pending: list[int] = []  # ComfyUI may cut a chunk within a word
    for chunk in tokenizer.tokenize_with_weights(text):
        for token, *_ in chunk:
            if isinstance(token, Tensor):
                token_words.append(len(words))
                words.append("embedding")
            elif token in (_START, _END):
                token_words.append(-1)
            else:
                token_words.append(len(words))
                pending.append(token)
                # Byte-pair tokens that end a word carry this mark in CLIP's vocabulary.
                if tokenizer.inv_vocab[token].endswith("</w>"):
                    words.append(tokenizer.decode(pending).strip())
                    pending = []
    return PromptWords(words=words, token_words=token_words)


@cache
def _tokenizer(embedding_folders: tuple[str, ...]) -> comfy.sd1_clip.SDTokenizer:
    return comfy.sd1_clip.SDTokenizer(embedding_directory=list(embedding_folders))


def traced_text(prompt: DynamicPrompt | None, node_id: str | None, input_name: str) -> str | None:
    """The sentence that was encoded into a conditioning input, as far as the graph shows it.

    Args:
        prompt: The graph as ComfyUI runs it, with what loops and the like have added to it.
        node_id: The node whose input is asked for.
        input_name: The conditioning input.
    Returns:
        The text of the CLIPTextEncode that feeds the input, `None` if another kind of node does:
        only of core's nodes it is known that the text shown is the text encoded.
    """
    if prompt is None or node_id is None:
        return None
    encoder = _linked_node(prompt, prompt.get_node(node_id), input_name)
    if encoder is None or encoder["class_type"] != "CLIPTextEncode":
        return None
    text = encoder["inputs"].get("text")
    if isinstance(text, str):
        return text
    source = _linked_node(prompt, encoder, "text")
    if source is None or source["class_type"] not in _TEXT_NODES:
        return None
    value = source["inputs"].get("value")
    return value if isinstance(value, str) else None


def _linked_node(
    prompt: DynamicPrompt, node: dict[str, Any], input_name: str
) -> dict[str, Any] | None:
    link = node["inputs"].get(input_name)
    is_known = is_link(link) and prompt.has_node(link[0])
    return prompt.get_node(link[0]) if is_known else None
