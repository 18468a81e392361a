"""One checkpoint under many settings: α of the prior, and ten levels of one prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ...shapes.benchmark import Answer, Question, make_questions, score
from ...shapes.evaluation import EvaluationOptions, answer, checkpoint_facts, evaluate
from .variants import PRIOR

PRIOR_FACTORS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Multiples of the paper's α, 0.033 to 0.016."""

LEVELS = tuple(range(1, 11))


def sweep_prior(options: EvaluationOptions) -> dict[str, dict[str, object]]:
    """Figures for every factor of the paper's α, by the factor in words.

    Args:
        options: Checkpoint, questions and sampling; its `prior` is not used.
    """
    figures = {}
    for factor in PRIOR_FACTORS:
        prior = (PRIOR[0] * factor, PRIOR[1] * factor) if factor else None
        figures[f"{factor:g}"] = {**score(evaluate(dataclasses.replace(options, prior=prior)))}
    return figures


def sweep_levels(options: EvaluationOptions, num_prompts: int) -> list[Answer]:
    """Every prompt at ten levels, all else equal (figure 5).

    Args:
        options: Checkpoint and sampling.
        num_prompts: How many prompts, of the motions in turn.
    """
    facts = checkpoint_facts(options)
    prompts = make_questions("level", num_prompts, edges=facts.ssim_edges, size_px=facts.size_px)
    return answer(options, at_all_levels(prompts))


def at_all_levels(prompts: Sequence[Question]) -> list[Question]:
    """Each prompt with level 1 to 10."""
    return [dataclasses.replace(prompt, level=level) for prompt in prompts for level in LEVELS]
