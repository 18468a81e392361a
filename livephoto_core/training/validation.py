"""The loss on clips that are not trained on: whether a training still learns, or only remembers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from .config import TrainingConfig
from .data import ClipSource, prefetch
from .loss import ClipLoss, draw

SEED = 0
"""Of order, noise, timesteps and text drop: the same in all trainings, so that they compare."""


@torch.no_grad()
def validation_loss(
    loss: ClipLoss, clips: ClipSource, config: TrainingConfig, accelerator: Accelerator
) -> float:
    """Mean loss over the first `run.validation_clips` clips, which all processes share out.

    Args:
        loss: Of the training, with the weights to try.
        clips: Others than the training's, made with `SEED`.
        config: Of the training.
        accelerator: Of the training.
    """
    options, total = config.run, torch.zeros((), device=accelerator.device)
    own = range(accelerator.process_index, options.validation_clips, accelerator.num_processes)
    batches = [own[i : i + options.batch_size] for i in range(0, len(own), options.batch_size)]
    for numbers, batch in prefetch(clips, batches, num_threads=options.num_threads):
        draws = draw(config.noise, seed=SEED, numbers=numbers, shape=batch.latents.shape[1:])
        total += loss(batch.to(accelerator.device), draws.to(accelerator.device)).sum()
    total = cast("Tensor", accelerator.reduce(total, reduction="sum"))
    return total.item() / options.validation_clips


@contextmanager
def with_weights(
    parameters: Mapping[str, nn.Parameter], weights: Mapping[str, Tensor]
) -> Iterator[None]:
    """Parameters with other weights for a while; nothing is copied."""
    own = {name: parameter.data for name, parameter in parameters.items()}
    for name, parameter in parameters.items():
        parameter.data = weights[name]
    try:
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
