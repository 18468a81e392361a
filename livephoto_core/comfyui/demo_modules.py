"""The tiny base model's modules, made of ComfyUI's own classes.

Training and inference build them here, so that what is trained is what ComfyUI runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel
from torch import Tensor, nn

from ..models.config import UNetLayout
from ..shapes.base_model import BaseConfig, BaseModelFile
from .allocating_layers import AllocatingLayers
from .demo_text import NUM_TOKENS
from .differentiable_attention import differentiable_attention

if TYPE_CHECKING:
    from transformers import Dinov2Model

_CONTENT_PATCH_PX, _CONTENT_SIZE_PX = 14, 224
_TOKEN_STD, _POSITION_STD = 0.02, 0.01  # CLIP's


def unet_config(layout: UNetLayout) -> dict[str, Any]:
    """ComfyUI's description of a UNet; the inverse of `compatibility.unet_layout`."""
    width, depth = layout.block_channels[0], layout.layers_per_block
    has_attention = [int(n in layout.attention_levels) for n in range(len(layout.block_channels))]
    return {
        "image_size": 32,
        "in_channels": layout.latent_channels,
        "out_channels": layout.latent_channels,
        "model_channels": width,
        "num_res_blocks": [depth] * len(layout.block_channels),
        "channel_mult": [channels // width for channels in layout.block_channels],
        "transformer_depth": [has for has in has_attention for _ in range(depth)],
        "transformer_depth_middle": 1,
        "transformer_depth_output": [has for has in has_attention for _ in range(depth + 1)],
        "context_dim": layout.context_dim,
        "num_heads": layout.num_heads,
        "num_head_channels": -1,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": False,
        "use_checkpoint": False,
        "legacy": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
    }


def autoencoder_params(config: BaseConfig) -> dict[str, Any]:
    """Arguments of ComfyUI's AutoencoderKL."""
    part, latent_channels = config.autoencoder, config.unet.latent_channels
    ddconfig = {
        "double_z": True,
        "z_channels": latent_channels,
        "resolution": config.size_px,
        "in_channels": 3,
        "out_ch": 3,
        "ch": part.channels,
        "ch_mult": list(part.channel_multipliers),
        "num_res_blocks": part.num_res_blocks,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return {"ddconfig": ddconfig, "embed_dim": latent_channels}


def build_unet(config: BaseConfig, *, device: str = "cpu") -> UNetModel:
    """The UNet in fp32, its weights not yet set."""
    return UNetModel(**unet_config(config.unet), device=device, operations=AllocatingLayers)


def build_autoencoder(config: BaseConfig) -> AutoencoderKL:
    """The autoencoder in fp32, its weights not yet set."""
    return AutoencoderKL(**autoencoder_params(config))


def load_autoencoder(file: BaseModelFile) -> AutoencoderKL:
    """The autoencoder of a base model's file, frozen, in fp32."""
    autoencoder = build_autoencoder(file.config).requires_grad_(False).eval()
    weights = file.part("autoencoder")
    autoencoder.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return autoencoder


def predict_noise(
    unet: UNetModel, noisy_latents: Tensor, timesteps: Tensor, text: Tensor
) -> Tensor:
    """The UNet's prediction, with an attention that has a gradient on every device.

    Args:
        unet: From `build_unet`.
        noisy_latents: √ᾱ·x + √(1−ᾱ)·ε, (b c h w).
        timesteps: (b).
        text: Of a `TextEncoder`, (b 77 d).
    Returns:
        (b c h w), float32.
    """
    options = {"optimized_attention_override": differentiable_attention}
    out = unet(noisy_latents, timesteps.float(), context=text, transformer_options=options)
    return out.float()


def build_content_encoder(config: BaseConfig) -> Dinov2Model:
    """The patch-token encoder in fp32 with transformers' own initial weights, in training mode."""
    from transformers import Dinov2Config, Dinov2Model

    from ..models.content_encoder import HEAD_DIM

    width = config.content_encoder.width
    return Dinov2Model(
        Dinov2Config(
            hidden_size=width,
            num_hidden_layers=config.content_encoder.num_layers,
            num_attention_heads=max(1, width // HEAD_DIM),
            image_size=_CONTENT_SIZE_PX,
            patch_size=_CONTENT_PATCH_PX,
            use_mask_token=False,
        )
    ).train()


def initialise_weights(module: nn.Module, seed: int) -> None:
    """Sets all weights for a start of training.

    ComfyUI's layers leave their memory as it is. Every layer gets PyTorch's own start (embeddings
    CLIP's), and each residual branch of a UNet ends in zeros.

    Args:
        module: From a builder of this file.
        seed: Of the random numbers; the global generator is left alone.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for layer in module.modules():
            for kind in (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm):
                if isinstance(layer, kind):
                    reset: Any = kind.reset_parameters  # ComfyUI's subclasses do nothing here
                    reset(layer)
            if isinstance(layer, nn.Embedding):
                is_position = layer.num_embeddings == NUM_TOKENS
                nn.init.normal_(layer.weight, std=_POSITION_STD if is_position else _TOKEN_STD)
    for layer in module.modules():
        if isinstance(layer, ResBlock):
            _zero(layer.out_layers[-1])
        elif isinstance(layer, SpatialTransformer):
            _zero(layer.proj_out)
        elif isinstance(layer, UNetModel):
            _zero(layer.out[-1])


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
