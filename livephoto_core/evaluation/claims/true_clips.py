"""What the measures make of the world's own clips."""

from __future__ import annotations

import statistics

from ...shapes.benchmark import frame_similarity, make_questions
from ...shapes.evaluation import EvaluationOptions, checkpoint_facts
from ...shapes.rendering import render_clip

NUM_CLIPS = 48


def true_frame_similarity(options: EvaluationOptions) -> float:
    """Similarity of adjacent frames in the clips that the motion questions ask for, a mean.

    Args:
        options: Checkpoint, base model and ComfyUI.
    """
    from ...comfyui.standalone import use_comfyui

    use_comfyui(options.comfyui)
    from ...comfyui.demo_model import load_demo_model

    *_, content_encoder = load_demo_model(options.base)
    edges, size_px = checkpoint_facts(options)
    questions = make_questions("motion", NUM_CLIPS, edges=edges, size_px=size_px)
    clips = [render_clip(question.scene, size_px=size_px) for question in questions]
    return statistics.fmean(frame_similarity(content_encoder.encode(clip)) for clip in clips)
