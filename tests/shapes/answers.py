"""An answer of the benchmark that nobody made."""

from __future__ import annotations

import dataclasses

from livephoto_core.shapes.benchmark import Answer

ANSWER = Answer(
    kind="motion",
    asked_motion="grow",
    asked_level=3,
    motion="grow",
    level=3,
    ssim=0.98,
    first_frame_psnr_db=30.0,
    keeps_shape=True,
    keeps_colour=True,
    frame_similarity=0.9,
)


def answer(**changes) -> Answer:
    """`ANSWER` with some of it changed."""
    return dataclasses.replace(ANSWER, **changes)
