"""Models small enough for a CPU test, with seeded random weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy.model_patcher import ModelPatcher

from livephoto_core.comfyui.livephoto_model import LivePhotoModel, livephoto_from_weights
from livephoto_core.comfyui.reference import LivePhotoReference
from livephoto_core.models.config import (
    ContentConfig,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    TextReweightingConfig,
    UNetLayout,
)
from livephoto_core.models.livephoto import LivePhoto
from tests.comfyui.sd15_checkpoint import small_model
from tests.models.random_weights import randomise

CONTEXT_DIM = 64
LAYOUT = UNetLayout(block_channels=(32, 64, 128, 128), context_dim=CONTEXT_DIM)

CONTENT = ContentConfig(encoder="tiny", encoder_dim=48, token_dim=32)
FULL = LivePhotoConfig(
    layout=LAYOUT,
    motion=MotionConfig(),
    input_conditioning=InputConditioningConfig(),
    content=CONTENT,
    text_reweighting=TextReweightingConfig(),
)
ADAPTED = replace(FULL, text_adapters=True)
ANIMATEDIFF_V1 = LivePhotoConfig(
    layout=LAYOUT,
    motion=MotionConfig(kind="AnimateDiff v1", position_length=24, has_middle=False),
    noise_schedule="linear",
    cross_frame_group_norm=True,
)
PIA = LivePhotoConfig(
    layout=LAYOUT,
    motion=MotionConfig(kind="PIA", has_middle=False),
    input_conditioning=InputConditioningConfig(channels=("affinity", "reference")),
    noise_schedule="linear",
    cross_frame_group_norm=True,
)
CONFIGS = {"livephoto": FULL, "adapted": ADAPTED, "v1": ANIMATEDIFF_V1, "pia": PIA}


def tiny_sd15(layout: UNetLayout = LAYOUT) -> ModelPatcher:
    """A MODEL of the SD-1.5 family, of any widths."""
    width = layout.block_channels[0]
    return small_model(
        "SD15",
        model_channels=width,
        channel_mult=[channels // width for channels in layout.block_channels],
        context_dim=layout.context_dim,
    )


def tiny_livephoto(config: LivePhotoConfig) -> LivePhotoModel:
    """A LIVEPHOTO with random weights in every part of `config`."""
    parts = randomise(LivePhoto(config), seed=2)
    if parts.motion is not None:
        parts.motion.make_positions()
    return livephoto_from_weights("tiny.safetensors", config, parts.state_dict())


def random_reference(
    config: LivePhotoConfig, *, height: int = 8, width: int = 8
) -> LivePhotoReference:
    """A reference as it would come out of ReferenceEncode."""
    generator = torch.Generator().manual_seed(3)
    tokens = None
    if config.content is not None:
        tokens = torch.randn(1, 16, config.content.encoder_dim, generator=generator)
    latent = torch.randn(1, 4, height, width, generator=generator) / 0.18215
    return LivePhotoReference(latent=latent, patch_tokens=tokens)


def random_text(num_tokens: int = 77, *, seed: int = 4, frames: int = 1) -> list:
    """A CONDITIONING."""
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(frames, num_tokens, CONTEXT_DIM, generator=generator), {}]]
