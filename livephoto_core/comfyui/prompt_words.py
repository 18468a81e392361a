"""Which tokens of a conditioning belong to which word of the sentence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import comfy.sd1_clip
import folder_paths
from torch import Tensor

_START, _END = 49406, 49407


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
