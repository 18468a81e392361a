"""Motion checkpoints of SD-1.5 size with random weights, in the formats artists download."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model

from livephoto_core.checkpoints import write_checkpoint
from livephoto_core.models.config import (
    ContentConfig,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    TextReweightingConfig,
)
from livephoto_core.models.livephoto import LivePhoto

ENCODER_DIM = 384


def write_livephoto(path: Path) -> None:
    """All parts, native format, with content tokens of DINOv2 small."""
    config = LivePhotoConfig(
        motion=MotionConfig(),
        input_conditioning=InputConditioningConfig(),
        content=ContentConfig(encoder="dinov2-small", encoder_dim=ENCODER_DIM),
        text_reweighting=TextReweightingConfig(),
        ssim_edges=(0.99, 0.97, 0.95, 0.89, 0.81, 0.70, 0.60, 0.50, 0.42),
    )
    write_checkpoint(path, config, _random_weights(config))


def write_pia(path: Path) -> None:
    """PIA's pia.ckpt: motion modules and a nine-channel conv_in."""
    config = LivePhotoConfig(motion=MotionConfig(position_length=32, has_middle=False))
    weights = _animatediff_weights(config)
    weights["conv_in.weight"] = torch.randn(320, 9, 3, 3).half() * 0.05
    weights["conv_in.bias"] = torch.zeros(320).half()
    torch.save({"state_dict": weights}, path)


def write_animatediff_v3(path: Path) -> None:
    """AnimateDiff's v3_sd15_mm.ckpt."""
    config = LivePhotoConfig(motion=MotionConfig(position_length=32, has_middle=False))
    torch.save({"state_dict": _animatediff_weights(config)}, path)


def write_dinov2_small(path: Path) -> None:
    """facebook/dinov2-small's model.safetensors."""
    config = Dinov2Config(
        hidden_size=ENCODER_DIM, num_hidden_layers=12, num_attention_heads=6, image_size=518
    )
    save_file(Dinov2Model(config).state_dict(), path)


def write_lora(path: Path) -> None:
    """A picture LoRA in kohya's names, on one attention layer."""
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    save_file(
        {
            f"{name}.lora_up.weight": torch.randn(320, 4) * 0.1,
            f"{name}.lora_down.weight": torch.randn(4, 320) * 0.1,
            f"{name}.alpha": torch.tensor(4.0),
        },
        path,
    )


def _animatediff_weights(config: LivePhotoConfig) -> dict[str, torch.Tensor]:
    return {key.removeprefix("motion."): value for key, value in _random_weights(config).items()}


def _random_weights(config: LivePhotoConfig) -> dict[str, torch.Tensor]:
    """Small half-precision noise; norm weights near one."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for key, meta in LivePhoto(config, device="meta").state_dict().items():
        noise = torch.randn(meta.shape, generator=generator, dtype=torch.float32).mul_(0.02)
        is_scale = meta.ndim == 1 and key.endswith("weight")
        weights[key] = (noise + 1 if is_scale else noise).half()
    return weights
