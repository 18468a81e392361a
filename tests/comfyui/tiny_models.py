"""Models of ComfyUI's own classes, small enough for a CPU test, with seeded random weights."""

from __future__ import annotations

import comfy.model_base
import comfy.model_patcher
import comfy.supported_models
import torch

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

from ..models.random_weights import randomise

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
CONFIGS = {"livephoto": FULL, "v1": ANIMATEDIFF_V1, "pia": PIA}


def unet_config(layout: UNetLayout = LAYOUT, in_channels: int = 4) -> dict:
    """ComfyUI's description of an SD-1.5-family UNet of the given widths."""
    width = layout.block_channels[0]
    return {
        "image_size": 32,
        "in_channels": in_channels,
        "out_channels": 4,
        "model_channels": width,
        "num_res_blocks": [2, 2, 2, 2],
        "channel_mult": [channels // width for channels in layout.block_channels],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [1] * 9 + [0] * 3,
        "transformer_depth_middle": 1,
        "context_dim": layout.context_dim,
        "num_heads": 8,
        "num_head_channels": -1,
        "use_spatial_transformer": True,
        "legacy": False,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
        "dtype": torch.float32,
    }


def tiny_sd15(
    layout: UNetLayout = LAYOUT,
    *,
    in_channels: int = 4,
    model_type: comfy.model_base.ModelType = comfy.model_base.ModelType.EPS,
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL of the SD-1.5 family."""
    config = comfy.supported_models.SD15(unet_config(layout, in_channels))
    base = comfy.model_base.BaseModel(config, model_type=model_type, device="cpu")
    randomise(base.diffusion_model, seed=1)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(base, load_device=cpu, offload_device=cpu)


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
