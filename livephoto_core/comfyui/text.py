"""Re-weighting CONDITIONING: by the checkpoint, and by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ..models.text_reweighting import (
    apply_weights,
    average_over_words,
    override_words,
    scale_weights,
)
from .livephoto_model import LivePhotoModel
from .prompt_words import PromptWords, prompt_words


@dataclass(frozen=True)
class WordWeights:
    """The words of a sentence and the weight of each in every frame, mean over its tokens.

    Args:
        words: In the order of the sentence, as overrides name them.
        predicted: By the checkpoint, (f w); a single frame where all have the same weights.
        used: The same with the overrides, (f w).
    """

    words: list[str]
    predicted: Tensor
    used: Tensor


def reweight_conditioning(
    livephoto: LivePhotoModel,
    conditioning: list[Any],
    *,
    num_frames: int,
    strength: float = 1.0,
    overrides: str = "",
    text: str | None = None,
    name: str = "positive",
) -> tuple[list[Any], WordWeights | None]:
    """Text tokens multiplied by a weight for every token and frame.

    Args:
        livephoto: Its text re-weighting, if the checkpoint has one.
        conditioning: CONDITIONING with tokens (1 n d).
        num_frames: Frames of the video.
        strength: How far the checkpoint's weights are followed.
        overrides: "waving:1.5, dinosaur:0.2".
        text: The sentence, to know which tokens make which word.
        name: Of the input, for errors.
    Returns:
        CONDITIONING with tokens (f n d), or (1 n d) where all frames have the same weights, and the
        words with their weights where the sentence is known.
    Raises:
        ValueError: If the overrides cannot be read or matched, or the tokens are not one sentence.
    """
    word_weights = parse_overrides(overrides)
    words = _matching_words(text, conditioning) if text is not None else None
    if word_weights and words is None:
        raise ValueError(
            "overrides: which tokens make a word is not known here. Write the sentence into text "
            "exactly as it was encoded (and connect a single conditioning)."
        )
    weighted, shown = [], None
    for tokens, options in conditioning:
        predicted = used = _token_weights(livephoto, tokens, num_frames, strength, name)
        if words is not None:
            ids = words.token_words
            used = override_words(predicted, ids, words=words.words, overrides=word_weights)
            per_word = [average_over_words(weights[0], ids) for weights in (predicted, used)]
            shown = WordWeights(words.words, *per_word)
        weighted.append([apply_weights(tokens, used)[0], {**options}])
    return weighted, shown


def parse_overrides(overrides: str) -> dict[str, float]:
    """Overrides as a mapping, {"waving": 1.5} for "waving:1.5".

    Raises:
        ValueError: Naming the entry that is not a word, a colon and a number.
    """
    parsed: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in overrides.replace("\n", ",").split(","))):
        word, colon, weight = entry.rpartition(":")
        try:
            value = float(weight)
        except ValueError:
            value = None
        if not colon or not word.strip() or value is None:
            raise ValueError(
                f"overrides: {entry!r} is not a word with a weight. Write word:weight, separated "
                "by commas, such as waving:1.5, dinosaur:0.2."
            )
        parsed[word.strip()] = value
    return parsed


def _matching_words(text: str, conditioning: list[Any]) -> PromptWords | None:
    words = prompt_words(text)
    fits = len(conditioning) == 1 and conditioning[0][0].shape[1] == len(words.token_words)
    return words if fits else None


def _token_weights(
    livephoto: LivePhotoModel, tokens: Tensor, num_frames: int, strength: float, name: str
) -> Tensor:
    """Weights (1 f n) of the checkpoint, or ones (1 1 n) where it has no re-weighting."""
    if tokens.shape[0] != 1:
        raise ValueError(
            f"{name}: its tokens already differ from frame to frame ({tokens.shape[0]} of them). "
            "Put Text Reweight directly after the text encoder."
        )
    width = livephoto.config.layout.context_dim
    if tokens.shape[-1] != width:
        raise ValueError(
            f"{name}: the text was encoded {tokens.shape[-1]} wide, {livephoto.name} was trained "
            f"with {width}. Choose another file in Load LivePhoto, or encode the text with the "
            "CLIP of the checkpoint it was trained on (for the demo: Load Demo Model)."
        )
    module = livephoto.parts.text_reweighting
    if module is None or strength == 0:
        return torch.ones(1, 1, tokens.shape[1])
    comfy.model_management.load_model_gpu(livephoto.patcher)
    with torch.inference_mode():
        weights = module(tokens.to(livephoto.patcher.load_device, torch.float32), num_frames)
    return scale_weights(weights.cpu(), strength)
