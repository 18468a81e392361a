"""What a training is made of besides its options, and how its parts come from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..checkpoints import Checkpoint
from ..comfyui.compatibility import unet_layout
from ..models.config import LivePhotoConfig
from ..models.livephoto import LivePhoto
from .config import TrainingConfig
from .data import ClipSource, check_clips, check_validation
from .parts import build_parts, checkpoint_config

if TYPE_CHECKING:
    from transformers import Dinov2Model

    from ..comfyui.training_unet import ModelPatcher


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A training at one step, for making samples.

    Args:
        step: Optimiser steps done.
        config: Describes the weights.
        weights: Averaged weights of `LivePhoto(config)`.
        folder: Of the training.
    """

    step: int
    config: LivePhotoConfig
    weights: Mapping[str, Tensor]
    folder: Path


class MakeSamples(Protocol):
    """Called every `run.sample_every` steps in the first process; the others wait."""

    def __call__(self, snapshot: Snapshot) -> None:
        """Writes samples into the training's folder."""
        ...


@dataclass(frozen=True, eq=False)
class Ingredients:
    """What a training is made of besides its options.

    Args:
        model: SD-1.5 MODEL, in fp32; stays as it is.
        clips: What to train on.
        encoder: Name and frozen DINOv2 that give content tokens, if the parts have them.
        initial: Checkpoint to start from.
        make_samples: Makes sample videos.
        validation: Clips that are not trained on, made with `validation.SEED`.
    """

    model: ModelPatcher
    clips: ClipSource
    encoder: tuple[str, Dinov2Model] | None = None
    initial: Checkpoint | None = None
    make_samples: MakeSamples | None = None
    validation: ClipSource | None = None


def make_parts(
    config: TrainingConfig, ingredients: Ingredients, saved: LivePhotoConfig | None = None
) -> LivePhoto:
    """The modules that train, with the weights they start from.

    Args:
        config: Options.
        ingredients: Base model, clips, content encoder and initial checkpoint.
        saved: Describes the parts of a training that is resumed: they are built as they were and
            wait for their weights, whatever the checkpoint was that they started from.
    Raises:
        ValueError: If options, base model, clips and initial checkpoint do not fit each other.
    """
    facts, encoder, initial = ingredients.clips.facts, ingredients.encoder, ingredients.initial
    layout = unet_layout(ingredients.model.model.model_config.unet_config)
    check_clips(facts, layout)
    if ingredients.validation is not None:
        check_validation(ingredients.validation.facts, facts)
    if config.parts.content_encoder != (encoder is not None):
        raise ValueError(
            "parts.content_encoder must be true if a content encoder is given, and false if not."
        )
    described = checkpoint_config(
        config.parts,
        layout=layout,
        facts=facts,
        encoder=encoder and (encoder[0], encoder[1].config.hidden_size),
        schedule=config.noise.schedule,
        initial=saved or (initial and initial.config),
    )
    if saved is None:
        return build_parts(
            described, seed=config.run.seed, initial=initial, frozen=config.parts.frozen
        )
    changed = [
        item.name
        for item in dataclasses.fields(described)
        if getattr(described, item.name) != getattr(saved, item.name)
    ]
    if changed:
        raise ValueError(
            f"--resume: options or files now describe another checkpoint ({', '.join(changed)} "
            "differ). Resume with what the training was started with, or start a new one with "
            "files.init_from."
        )
    return LivePhoto(saved, dtype=torch.float32)
