"""The whole network with motion modules against diffusers' UNetMotionModel, same weights.

A real sampling step of ComfyUI is recorded at the UNet's door, and diffusers is given the same
tensors. Two things of diffusers are set to what the weights were trained with: AnimateDiff and PIA
normalise each frame by itself at the entrance of a motion module (diffusers: over all frames), and
v1 and PIA take the statistics of the ResBlocks' GroupNorms over all frames (diffusers: per frame).
"""

from __future__ import annotations

import comfy.utils
import pytest
import torch
from diffusers import UNetMotionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from einops import rearrange
from torch import nn

from livephoto_core.comfyui.apply import apply_livephoto
from livephoto_core.models.config import (
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    UNetLayout,
)
from livephoto_core.models.input_conditioning import assemble_channels
from livephoto_core.models.motion import sinusoidal_positions
from tests.comfyui.sampling import sample
from tests.comfyui.tiny_models import LAYOUT, random_reference, tiny_livephoto, tiny_sd15
from tests.models.test_motion import PerFrameGroupNorm

FRAMES = 5
PIA_INPUT = InputConditioningConfig(channels=("affinity", "reference"))


def config_for(kind: str, layout: UNetLayout) -> LivePhotoConfig:
    return LivePhotoConfig(
        layout=layout,
        motion=MotionConfig(
            kind=kind,
            position_length=24 if kind == "AnimateDiff v1" else 32,
            has_middle=kind == "AnimateDiff v2",
        ),
        input_conditioning=PIA_INPUT if kind == "PIA" else None,
        cross_frame_group_norm=kind in ("AnimateDiff v1", "PIA"),
        noise_schedule="linear",
    )


def diffusers_network(model, livephoto) -> UNetMotionModel:
    config = livephoto.config
    channels = 9 if config.input_conditioning else 4
    with torch.device("meta"):  # it shares our weights: twice SD-1.5's would be several GiB more
        network = UNetMotionModel(
            in_channels=channels,
            block_out_channels=config.layout.block_channels,
            cross_attention_dim=config.layout.context_dim,
            num_attention_heads=8,
            motion_num_attention_heads=8,
            motion_max_seq_length=config.motion.position_length,
            use_motion_mid_block=config.motion.has_middle,
        ).requires_grad_(False)
    base = model.model.diffusion_model.state_dict()
    names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    weights = {theirs: base[ours] for theirs, ours in names.items() if ours in base}
    weights |= motion_weights(livephoto)
    if config.input_conditioning:
        added = livephoto.parts.input_conditioning.conv.weight
        weights["conv_in.weight"] = torch.cat([weights["conv_in.weight"], added], dim=1)
    network.load_state_dict(weights, strict=True, assign=True)
    for module in network.modules():
        if isinstance(module, AnimateDiffTransformer3D):
            module.norm.__class__ = PerFrameGroupNorm
    if config.cross_frame_group_norm:
        norms = [network.conv_norm_out]
        for module in network.modules():
            if isinstance(module, ResnetBlock2D):
                norms += [module.norm1, module.norm2]
        for norm in norms:
            norm.__class__ = CrossFrameGroupNorm
    return network.eval()


class CrossFrameGroupNorm(nn.GroupNorm):
    def forward(self, x):
        clips = rearrange(x, "(b f) c h w -> b c f h w", f=FRAMES)
        return rearrange(super().forward(clips), "b c f h w -> (b f) c h w")


def motion_weights(livephoto) -> dict[str, torch.Tensor]:
    renamed = {
        "temporal_transformer.": "",
        "attention_blocks.0": "attn1",
        "attention_blocks.1": "attn2",
        "norms.0": "norm1",
        "norms.1": "norm2",
        "ff_norm": "norm3",
    }
    weights = {}
    for key, value in livephoto.parts.motion.state_dict().items():
        name = key
        for old, new in renamed.items():
            name = name.replace(old, new)
        if key.endswith("attention_blocks.0.pos_encoder.pe"):
            name = name.replace("attn1.pos_encoder.pe", "pos_embed.pe")
            assert torch.equal(value, sinusoidal_positions(value.shape[1], value.shape[2]))
        elif key.endswith("pos_encoder.pe"):
            continue
        weights[name] = value
    return weights


def relative_error(kind: str, layout: UNetLayout) -> float:
    model, config = tiny_sd15(layout), config_for(kind, layout)
    livephoto, reference = tiny_livephoto(config), random_reference(config)
    applied = apply_livephoto(model, livephoto, reference, 7)
    seen = []

    def record(executor, x, timesteps, context, *args, **kwargs):
        out = executor(x, timesteps, context, *args, **kwargs)
        seen.append((x, timesteps, context, out))
        return out

    applied.add_wrapper_with_key("diffusion_model", "test", record)
    dim = layout.context_dim
    text = [
        [torch.randn(1, 77, dim, generator=torch.Generator().manual_seed(s)), {}] for s in (1, 2)
    ]
    sample(applied, frames=FRAMES, steps=1, positive=[text[0]], negative=[text[1]])
    x, timesteps, context, ours = seen[0]
    assert x.shape[0] == 2 * FRAMES
    if config.input_conditioning:
        latent = reference.latent * 0.18215
        channels = assemble_channels(
            config.input_conditioning, reference=latent, level=7, num_frames=FRAMES
        )
        x = torch.cat([x, channels.repeat(2, 1, 1, 1)], dim=1)
    with torch.inference_mode():
        clip = rearrange(x, "(b f) c h w -> b c f h w", f=FRAMES)
        theirs = diffusers_network(model, livephoto)(clip, timesteps[0], context).sample
    theirs = rearrange(theirs, "b c f h w -> (b f) c h w")
    return ((ours - theirs).norm() / theirs.norm()).item()


KINDS = ["AnimateDiff v1", "AnimateDiff v2", "AnimateDiff v3", "PIA"]


@pytest.mark.parametrize("kind", KINDS)
def test_step_agrees_with_diffusers(kind):
    assert relative_error(kind, LAYOUT) <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["AnimateDiff v2", "PIA"])
def test_step_of_sd15_size_agrees_with_diffusers(kind, comfy_in_process):
    """`comfy_in_process` lets go of the models afterwards: they take several GiB."""
    assert relative_error(kind, UNetLayout()) <= 1e-4
