"""Frames to look at: one prompt at all levels, and prompts that contradict the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ...shapes.benchmark import Question, make_questions
from ...shapes.evaluation import EvaluationOptions, animate, checkpoint_facts
from ...shapes.rendering import render_clip
from .sweeps import at_all_levels

NUM_CONFLICTS = 8
_FRAMES = (0, 3, 6, 9, 12, 15)
_SCALE = 2
_LABEL_PX = 14

Row = tuple[str, Tensor]
"""A label and a clip (f h w 3), 0 to 1."""


def write_level_frames(path: Path, options: EvaluationOptions) -> None:
    """Writes one prompt at ten levels (figure 5).

    Args:
        path: PNG file.
        options: Checkpoint, sampling and ComfyUI.
    """
    edges, size_px = checkpoint_facts(options)
    prompts = make_questions("motion", 1, edges=edges, size_px=size_px)
    questions = at_all_levels(prompts)
    labels = [f"level {question.level}: {question.caption}" for question in questions]
    clips = _animate_all(questions, options, size_px)
    frame_sheet(list(zip(labels, clips, strict=True))).save(path)


def write_conflict_frames(path: Path, variants: Mapping[str, EvaluationOptions]) -> None:
    """Writes prompts that contradict the picture (figure 6).

    Of each the world's own clip, which begins with the picture, then those of the variants.

    Args:
        path: PNG file.
        variants: Checkpoint, sampling and ComfyUI, by the name to show.
    """
    sheet: list[list[Row]] = [[] for _ in range(NUM_CONFLICTS)]
    for name, options in variants.items():
        edges, size_px = checkpoint_facts(options)
        questions = make_questions("conflicting", NUM_CONFLICTS, edges=edges, size_px=size_px)
        clips = _animate_all(questions, options, size_px)
        for rows, question, clip in zip(sheet, questions, clips, strict=True):
            if not rows:
                rows.append(("the picture, moving", render_clip(question.scene, size_px=size_px)))
            rows.append((f"{name}: {question.caption}", clip))
    frame_sheet([row for rows in sheet for row in rows]).save(path)


def _animate_all(
    questions: Sequence[Question], options: EvaluationOptions, size_px: int
) -> list[Tensor]:
    from ...comfyui.standalone import use_comfyui

    use_comfyui(options.comfyui)
    from ...comfyui.demo_animation import DemoAnimator

    animator = DemoAnimator(options.base, options.livephoto)
    return [animate(animator, question, options, size_px=size_px) for question in questions]


def frame_sheet(rows: Sequence[Row]) -> Image.Image:
    """Each clip's label, and below it every third of its frames."""
    strips = [_strip(clip) for _, clip in rows]
    width, height = strips[0].width, strips[0].height + _LABEL_PX
    sheet = Image.new("RGB", (width, height * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, ((label, _), strip) in enumerate(zip(rows, strips, strict=True)):
        draw.text((2, number * height + 1), label, fill="black")
        sheet.paste(strip, (0, number * height + _LABEL_PX))
    return sheet


def _strip(clip: Tensor) -> Image.Image:
    row = torch.cat([clip[index] for index in _FRAMES], dim=1)
    image = Image.fromarray(np.ascontiguousarray((row * 255).round().to(torch.uint8).numpy()))
    size = (image.width * _SCALE, image.height * _SCALE)
    return image.resize(size, Image.Resampling.NEAREST)
