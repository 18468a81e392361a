"""Frames to look at: one prompt at several levels, and prompts that contradict the picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...shapes.benchmark import make_questions
from ...shapes.evaluation import EvaluationOptions, animate, checkpoint_facts

LEVELS = (1, 4, 7, 10)
_FRAMES = (0, 3, 6, 9, 12, 15)
_SCALE = 2
NUM_CONFLICTS = 8


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
    size_px = facts.size_px
    given = {"edges": facts.ssim_edges, "size_px": size_px}
    [prompt] = make_questions("motion", 1, **given)
    sheets = {
        "levels": [dataclasses.replace(prompt, level=level) for level in LEVELS],
        "conflicts": make_questions("conflicting", NUM_CONFLICTS, **given),
    }
    for name, questions in sheets.items():
        clips = [animate(animator, question, options, size_px=size_px) for question in questions]
        frame_sheet(clips).save(output / f"{name}-frames.png")


def frame_sheet(clips: Sequence[Tensor]) -> Image.Image:
    """A row for each clip (f h w 3), 0 to 1, with every third of its frames."""
    rows = [torch.cat([clip[index] for index in _FRAMES], dim=1) for clip in clips]
    values = (torch.cat(rows) * 255).round().to(torch.uint8).numpy()
    image = Image.fromarray(np.ascontiguousarray(values))
    size = (image.width * _SCALE, image.height * _SCALE)
    return image.resize(size, Image.Resampling.NEAREST)
