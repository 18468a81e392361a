"""Frames to look at: one prompt at several levels, and prompts that contradict the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...shapes.benchmark import Question, make_questions
from ...shapes.evaluation import EvaluationOptions, checkpoint_facts
from ...shapes.rendering import render_clip

if TYPE_CHECKING:
    from ...comfyui.demo_animation import DemoAnimator

LEVELS = (1, 4, 7, 10)
_FRAMES = (0, 3, 6, 9, 12, 15)
_SCALE = 2
_CONFLICTS = range(8)


def write_figures(output: Path, options: EvaluationOptions) -> None:
    """Writes `levels-frames.png` (figure 5) and `conflicts-frames.png` (figure 6).

    Args:
        output: Folder.
        options: Checkpoint, sampling and ComfyUI.
    """
    from ...comfyui.standalone import use_comfyui

    use_comfyui(options.comfyui)
    from ...comfyui.demo_animation import DemoAnimator

    animator, facts = DemoAnimator(options.base, options.livephoto), checkpoint_facts(options)
    given = {"edges": facts.ssim_edges, "size_px": facts.size_px}
    first = make_questions("motion", 1, **given)[0]
    levels = [_animate(animator, first, level, options) for level in LEVELS]
    frame_sheet(levels).save(output / "levels-frames.png")
    conflicts = make_questions("conflicting", len(_CONFLICTS), **given)
    clips = [_animate(animator, question, question.level, options) for question in conflicts]
    frame_sheet(clips).save(output / "conflicts-frames.png")


def _animate(
    animator: DemoAnimator, question: Question, level: int, options: EvaluationOptions
) -> Tensor:
    size_px = checkpoint_facts(options).size_px
    picture = render_clip(question.scene, num_frames=1, size_px=size_px)[0]
    return animator(
        picture,
        question.caption,
        level=level,
        seed=question.seed,
        num_steps=options.num_steps,
        cfg=options.cfg,
    )


def frame_sheet(clips: Sequence[Tensor]) -> Image.Image:
    """A row for each clip (f h w 3), 0 to 1, with every third of its frames."""
    rows = [torch.cat([clip[index] for index in _FRAMES], dim=1) for clip in clips]
    values = (torch.cat(rows) * 255).round().to(torch.uint8).numpy()
    image = Image.fromarray(np.ascontiguousarray(values))
    size = (image.width * _SCALE, image.height * _SCALE)
    return image.resize(size, Image.Resampling.NEAREST)
