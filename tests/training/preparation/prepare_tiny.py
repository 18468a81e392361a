"""`prepare` with the tiny encoder as a process of its own, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from livephoto_core.training.preparation.clip_sampling import ClipConfig
from livephoto_core.training.preparation.preparation import (
    PreparationConfig,
    PreparationResult,
    prepare,
)
from livephoto_core.training.preparation.sources import SourceConfig
from tests.training.preparation.tiny_encoder import TinyEncoder


def prepare_tiny(
    source: Path,
    output: Path,
    *,
    part: tuple[int, int] = (1, 1),
    clips: ClipConfig | None = None,
    clips_per_shard: int = 3,
    num_workers: int = 2,
    encoder: TinyEncoder | None = None,
    **options: int,
) -> PreparationResult:
    """Prepares small clips."""
    torch.set_num_threads(1)
    config = PreparationConfig(
        sources=SourceConfig(source, part=part),
        output=output,
        clips=clips or ClipConfig(size_px=(64, 64)),
        clips_per_shard=clips_per_shard,
        clips_per_batch=2,
        num_workers=num_workers,
        **options,
    )
    return prepare(config, encoder or TinyEncoder())


if __name__ == "__main__":
    prepare_tiny(Path(sys.argv[1]), Path(sys.argv[2]))
