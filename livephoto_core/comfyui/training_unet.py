"""The network in training: the very UNet that is sampled with, its base frozen, under autograd.

`apply_livephoto` puts the checkpoint's parts into a MODEL, and this module takes a copy of the
result: the same twins in the UNet, the same hooks in `transformer_options`. A change of the hooks
therefore reaches training and sampling alike.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import comfy.model_management
import comfy.sd
import torch
from comfy.ldm.modules.attention import SpatialTransformer
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, TimestepEmbedSequential
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..models.config import LivePhotoConfig
from ..models.livephoto import LivePhoto
from ..motion_intensity import DEFAULT_LEVEL
from .apply import CHANNELS, RUN, apply_livephoto
from .differentiable_attention import differentiable_attention
from .livephoto_model import LivePhotoModel
from .reference import LivePhotoReference
from .run import Run
from .unet_twins import current_call, twin

_ATTENTION = "optimized_attention_override"


def load_base(path: str | Path, *, with_vae: bool = False) -> tuple[ModelPatcher, Any]:
    """The MODEL of an SD-1.5 checkpoint file in fp32, and its VAE if asked for.

    Args:
        path: Any checkpoint that ComfyUI's Load Checkpoint reads.
        with_vae: Whether to return a VAE too, rather than `None`.
    Raises:
        ValueError: If ComfyUI finds no model in the file, or not the VAE asked for.
    """
    model, _, vae, _ = comfy.sd.load_checkpoint_guess_config(
        str(path), output_vae=with_vae, output_clip=False, model_options={"dtype": torch.float32}
    )
    if model is None:
        raise ValueError(
            f"files.base: {Path(path).name} holds no diffusion model. Give an SD-1.5 checkpoint."
        )
    if with_vae and (vae is None or vae.first_stage_model is None):
        raise ValueError(
            f"files.base: {Path(path).name} holds no VAE, which sample videos need. Give a "
            "checkpoint with one, or --set run.sample_every=0."
        )
    return model, vae


def unload_models() -> None:
    """Takes all models that ComfyUI has loaded for sampling off the GPU."""
    comfy.model_management.unload_all_models()


class TrainingUNet(nn.Module):
    """A frozen UNet with the parts that train, as a function that autograd follows.

    Args:
        model: SD-1.5 MODEL; it is left as it is. In fp32 on the CPU its weights are shared, without
            `bf16`.
        parts: The modules that train, built with `torch.nn` layers.
        device: Where the copy of the UNet lies; the parts are moved there too.
        recompute: Whether to keep only what enters each layer of the UNet, and to compute the rest
            again in the backward pass (gradient checkpointing).
        bf16: Whether it will run under autocast to bf16: layers that autocast would cast are then
            kept so, with the same results. Autocast casts frozen weights anew at every use, and
            each use keeps its copy until the backward pass.
    Raises:
        ValueError: If the model is not the kind of UNet that the parts are made for.
    """

    def __init__(
        self,
        model: ModelPatcher,
        parts: LivePhoto,
        *,
        device: torch.device | str = "cpu",
        recompute: bool = False,
        bf16: bool = False,
    ) -> None:
        super().__init__()
        applied = apply_livephoto(
            model, _as_model(parts), _any_reference(parts.config), DEFAULT_LEVEL
        )
        self.unet = _frozen_copy(applied, torch.device(device), bf16=bf16)
        self.parts = parts.to(device)
        self._transformer_options = {
            **applied.model_options["transformer_options"],
            "wrappers": {WrappersMP.DIFFUSION_MODEL: applied.wrappers[WrappersMP.DIFFUSION_MODEL]},
            _ATTENTION: differentiable_attention,
        }
        if recompute:
            _recompute_layers(self.unet)

    def forward(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor,
        text: Tensor,
        channels: Tensor | None = None,
        patch_tokens: Tensor | None = None,
    ) -> Tensor:
        """The noise in a batch of clips.

        Args:
            noisy_latents: √ᾱ·x + √(1−ᾱ)·ε, (b f c h w).
            timesteps: Of each clip, (b).
            text: Tokens, the same for all frames (b n d) or weighted for each (b f n d).
            channels: Added input channels, (b f m h w); `None` where the parts have none.
            patch_tokens: Of the content encoder, (b n d); `None` where the parts have none.
        Returns:
            (b f c h w), float32.
        """
        num_frames = noisy_latents.shape[1]
        run = Run(parts=self.parts, patch_tokens=patch_tokens, num_frames=num_frames)
        if patch_tokens is not None:
            # Before the UNet: made within a recomputed layer, they would belong to that one.
            run.keys_values(noisy_latents)
        if text.ndim == 3:
            text = repeat(text, "b n d -> b f n d", f=num_frames)
        added = {} if channels is None else {CHANNELS: channels.flatten(0, 1)}
        out = self.unet(
            noisy_latents.flatten(0, 1),
            timesteps.float().repeat_interleave(num_frames),
            text.flatten(0, 1),
            transformer_options={**self._transformer_options, RUN: run},
            **added,
        )
        return rearrange(out.float(), "(b f) c h w -> b f c h w", f=num_frames)


class WithRecomputation:
    """A layer that keeps its inputs only, and is run again when gradients are wanted."""

    def forward(self, *args: Any) -> Tensor:
        """The layer's own forward."""
        call = current_call.get()
        # Later layers write their own place into `transformer_options`: each keeps its state.
        kept = [dict(arg) if isinstance(arg, dict) else arg for arg in args]

        def run(*args: Any) -> Tensor:
            # CUDA's backward pass has a thread of its own, with no running call.
            token = current_call.set(call)
            try:
                return super(WithRecomputation, self).forward(*args)  # type: ignore[misc]
            finally:
                current_call.reset(token)

        out = checkpoint(run, *kept, use_reentrant=False, preserve_rng_state=False)
        return cast("Tensor", out)


def _recompute_layers(unet: nn.Module) -> None:
    for block in list(unet.modules()):
        if isinstance(block, TimestepEmbedSequential):
            for index, layer in enumerate(block):
                if isinstance(layer, ResBlock | SpatialTransformer):
                    block[index] = twin(WithRecomputation, layer)


def _frozen_copy(applied: ModelPatcher, device: torch.device, *, bf16: bool) -> nn.Module:
    """The UNet of a MODEL with its object patches, without gradients, in fp32 or partly in bf16."""
    unet = applied.model.diffusion_model
    # deepcopy takes what it finds in `memo` for already copied.
    memo: dict[int, Any] = {}
    for module in unet.modules():
        is_cast = bf16 and isinstance(module, nn.Linear | nn.Conv2d)
        dtype = torch.bfloat16 if is_cast else torch.float32
        for parameter in module.parameters(recurse=False):
            copied = parameter.detach().to(device, dtype)
            memo[id(parameter)] = nn.Parameter(copied, requires_grad=False)
    applied.patch_model(load_weights=False)
    try:
        return copy.deepcopy(applied.model.diffusion_model, memo).to(device).eval()
    finally:
        applied.unpatch_model(unpatch_weights=False)


def _as_model(parts: LivePhoto) -> LivePhotoModel:
    cpu = torch.device("cpu")
    patcher = ModelPatcher(parts, load_device=cpu, offload_device=cpu)
    return LivePhotoModel(name="the checkpoint in training", config=parts.config, patcher=patcher)


def _any_reference(config: LivePhotoConfig) -> LivePhotoReference:
    """A reference of the right widths: `apply_livephoto` checks nothing else of it."""
    tokens = config.content and torch.zeros(1, 1, config.content.encoder_dim)
    latent = torch.zeros(1, config.layout.latent_channels, 8, 8)
    return LivePhotoReference(latent=latent, patch_tokens=tokens)
