"""What the text re-weighting makes of motion words and of content words (figure 3)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...shapes.benchmark import make_questions
from ...shapes.captions import CONTENT_WORDS, MOTION_WORDS
from ...shapes.evaluation import EvaluationOptions, checkpoint_facts

NUM_SENTENCES = 64

_KINDS = {"motion": MOTION_WORDS, "content": CONTENT_WORDS}


def measure_words(
    checkpoints: Mapping[str, Path], options: EvaluationOptions
) -> dict[str, dict[str, float]]:
    """Mean weight of motion words and of content words, for each checkpoint.

    Args:
        checkpoints: By the names to report them under.
        options: Base model and ComfyUI.
    """
    from ...comfyui.standalone import use_comfyui

    use_comfyui(options.comfyui)
    from ...comfyui.demo_animation import DemoAnimator

    facts = checkpoint_facts(options)
    questions = make_questions(
        "motion", NUM_SENTENCES, edges=facts.ssim_edges, size_px=facts.size_px
    )
    means = {}
    for name, path in checkpoints.items():
        animator = DemoAnimator(options.base, path)
        means[name] = mean_weights([animator.word_weights(q.caption) for q in questions])
    return means


def mean_weights(sentences: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean weight of the words of each kind.

    Args:
        sentences: Of each the words with their weights.
    """
    return {
        kind: statistics.fmean(
            weight for words in sentences for word, weight in words.items() if word in members
        )
        for kind, members in _KINDS.items()
    }


def words_table(words: Mapping[str, Mapping[str, float]]) -> str:
    """One row for each checkpoint."""
    lines = ["| checkpoint | motion words | content words |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {means['motion']:.3f} | {means['content']:.3f} |"
        for name, means in words.items()
    ]
    return "\n".join(lines)
