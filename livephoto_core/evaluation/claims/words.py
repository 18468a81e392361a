"""What the text re-weighting makes of motion, content and function words (figure 3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor

from ...models.text_reweighting import INITIAL_WEIGHT
from ...shapes.benchmark import make_questions
from ...shapes.captions import WordKind, word_kinds
from ...shapes.evaluation import EvaluationOptions, checkpoint_facts
from ..markdown import markdown_table

if TYPE_CHECKING:
    from ...comfyui.text import WordWeights

NUM_SENTENCES = 64
KINDS: tuple[WordKind, ...] = get_args(WordKind)


@dataclass(frozen=True)
class WordWeight:
    """One word over all sentences.

    Args:
        word: Lower case.
        kind: What it tells; a word that tells two things is there twice.
        count: How often it was said.
        mean: Its weight, mean over those and the frames.
        per_frame: The same of every frame.
    """

    word: str
    kind: WordKind
    count: int
    mean: float
    per_frame: list[float]


def measure_words(
    checkpoints: Mapping[str, Path], options: EvaluationOptions
) -> dict[str, list[WordWeight]]:
    """The weight of every word by each checkpoint.

    Args:
        checkpoints: By the names to report them under.
        options: Base model and ComfyUI.
    """
    from ...comfyui.standalone import use_comfyui

    use_comfyui(options.comfyui)
    from ...comfyui.demo_model import load_demo_model
    from ...comfyui.livephoto_model import load_livephoto
    from ...comfyui.text import reweight_conditioning

    edges, size_px = checkpoint_facts(options)
    questions = make_questions("motion", NUM_SENTENCES, edges=edges, size_px=size_px)
    captions = [question.caption for question in questions]
    _, clip, _, _ = load_demo_model(options.base)
    encoded = [clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in captions]
    words = {}
    for name, path in checkpoints.items():
        livephoto = load_livephoto(path)
        sentences = []
        for text, conditioning in zip(captions, encoded, strict=True):
            num_frames = livephoto.config.num_frames
            _, weights = reweight_conditioning(
                livephoto, conditioning, num_frames=num_frames, text=text
            )
            assert weights, "the sentence is known"
            sentences.append(weights)
        words[name] = average_words(sentences)
    return words


def average_words(sentences: Sequence[WordWeights]) -> list[WordWeight]:
    """The weight of every word that was said, in alphabetical order; punctuation is left out."""
    said: dict[tuple[str, WordKind], list[Tensor]] = defaultdict(list)
    for sentence in sentences:
        kinds = word_kinds(sentence.words)
        for word, kind, weights in zip(sentence.words, kinds, sentence.predicted.T, strict=True):
            if word.isalpha():
                said[word, kind].append(weights)
    return [
        WordWeight(word, kind, len(weights), mean.mean().item(), mean.tolist())
        for (word, kind), weights in sorted(said.items(), key=lambda item: item[0])
        for mean in [torch.stack(weights).mean(dim=0)]
    ]


def mean_weights(words: Sequence[WordWeight]) -> dict[WordKind, float]:
    """Mean weight of the words of each kind, as often as they were said."""
    means = {}
    for kind in KINDS:
        of_kind = [word for word in words if word.kind == kind]
        total = sum(word.count * word.mean for word in of_kind)
        means[kind] = total / sum(word.count for word in of_kind)
    return means


def words_table(means: Mapping[str, Mapping[WordKind, float]]) -> str:
    """One row for each checkpoint, and the weight that all words start with."""
    rows = {"untrained": dict.fromkeys(KINDS, INITIAL_WEIGHT), **means}
    return markdown_table(
        ["checkpoint", *(f"{kind} words" for kind in KINDS)],
        [[name, *(f"{of[kind]:.3f}" for kind in KINDS)] for name, of in rows.items()],
    )
