"""The tiny base model of the shapes world as ComfyUI objects that any node accepts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.supported_models_base
import torch
from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer, SDClipModel
from torch import Tensor

from ..checkpoints.validation import check_weights
from ..models.content_encoder import build_dinov2, file_name
from ..shapes.base_model import BaseConfig, BaseModelFile, open_base_model
from .content_encoder import ContentEncoder, wrap_dinov2
from .demo_modules import (
    autoencoder_params,
    build_autoencoder,
    build_content_encoder,
    build_unet,
    unet_config,
)
from .demo_text import TextEncoder, full_embedding, text_encoder_params

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_EMBEDDING = "text_model.embeddings.token_embedding.weight"


class ShapesBase(comfy.supported_models.SD15):
    """SD-1.5 at another width: what decides how ComfyUI samples is the same."""

    unet_extra_config = {}  # noqa: RUF012 - SD15's own would overwrite the number of heads
    # `base_model.NOISE_SCHEDULE` in ldm's words.
    sampling_settings = {"beta_schedule": "sqrt_linear"}  # noqa: RUF012


def load_demo_model(
    path: str | os.PathLike[str],
) -> tuple[ModelPatcher, comfy.sd.CLIP, comfy.sd.VAE, ContentEncoder]:
    """The tiny base model's MODEL, CLIP, VAE and content encoder.

    Args:
        path: File of `write_base_model`.
    Raises:
        CheckpointError: If it is another kind of file, damaged, or of another version.
    """
    file = open_base_model(path)
    _check_file(file)
    model, clip = _model(file), _clip(file)
    # For the copies that ComfyUI makes, for LoRA hooks under dynamic VRAM for example.
    model.cached_patcher_init = (_model_again, (path,))
    clip.patcher.cached_patcher_init = (_clip_patcher_again, (path,))
    return (
        model,
        clip,
        _vae(file.config, file.part("autoencoder")),
        replace(wrap_dinov2(*build_dinov2(file.part("content_encoder"))), knows_only_shapes=True),
    )


def expected_shapes(config: BaseConfig) -> dict[str, tuple[int, ...]]:
    """Names in the file and shapes of all weights that a config asks for; costs no memory."""
    with torch.device("meta"):
        modules = {
            "unet": build_unet(config, device="meta"),
            "autoencoder": build_autoencoder(config),
            "text_encoder": TextEncoder(config, device="meta"),
            "content_encoder": build_content_encoder(config),
        }
    return {
        f"{part}.{name}": tuple(tensor.shape)
        for part, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def _check_file(file: BaseModelFile) -> None:
    found, expected = file.file.tensors, expected_shapes(file.config)
    check_weights(Path(file.file.path), _with_file_names(found), _with_file_names(expected))


def _with_file_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    # transformers has renamed the modules of its DINOv2, and may be older or newer than the file.
    prefix = "content_encoder."
    return {
        prefix + file_name(name.removeprefix(prefix)) if name.startswith(prefix) else name: value
        for name, value in weights.items()
    }


def _model_again(path: str | os.PathLike[str], *, disable_dynamic: bool = False) -> ModelPatcher:
    return _model(open_base_model(path), disable_dynamic=disable_dynamic)


def _clip_patcher_again(
    path: str | os.PathLike[str], *, disable_dynamic: bool = False
) -> ModelPatcher:
    return _clip(open_base_model(path), disable_dynamic=disable_dynamic).patcher


def _model(file: BaseModelFile, *, disable_dynamic: bool = False) -> ModelPatcher:
    config, weights = file.config, file.part("unet")
    model_config: Any = ShapesBase(unet_config(config.unet))
    model_config.latent_format = _latent_format(config)
    management = comfy.model_management
    load_device = management.get_torch_device()
    dtypes = model_config.supported_inference_dtypes
    num_parameters = sum(tensor.numel() for tensor in weights.values())
    dtype = management.unet_dtype(
        load_device, num_parameters, supported_dtypes=dtypes, weight_dtype=torch.float16
    )
    cast_dtype = management.unet_manual_cast(dtype, load_device, dtypes)
    if dtype.itemsize == 1:
        # ComfyUI's --fp8 options are for large models.
        dtype, cast_dtype = cast_dtype, None
    model_config.set_inference_dtype(dtype, cast_dtype)
    offload_device = management.unet_offload_device()
    model = model_config.get_model({}, device=offload_device)
    # Looked up at call time: ComfyUI's start-up rebinds the class for dynamic VRAM.
    patchers = comfy.model_patcher
    patcher_class = patchers.ModelPatcher if disable_dynamic else patchers.CoreModelPatcher
    patcher = patcher_class(model, load_device=load_device, offload_device=offload_device)
    # Cast here: under dynamic VRAM ComfyUI's layers keep the dtype of what they are given.
    weights = {name: tensor.to(dtype) for name, tensor in weights.items()}
    model.load_model_weights(weights, assign=patcher.is_dynamic())
    return patcher


def _latent_format(config: BaseConfig) -> comfy.latent_formats.LatentFormat:
    latent_format: Any = comfy.latent_formats.SD15()
    # SD-1.5's tiny preview decoder knows nothing of these latents.
    latent_format.taesd_decoder_name = None
    if config.latent_rgb:
        *factors, bias = map(list, config.latent_rgb)
        latent_format.latent_rgb_factors, latent_format.latent_rgb_factors_bias = factors, bias
    return latent_format


def _clip(file: BaseModelFile, *, disable_dynamic: bool = False) -> comfy.sd.CLIP:
    config, weights = file.config, file.part("text_encoder")
    # As in SD-1.5: the last layer's tokens, normalised. Textual inversions do not fit this width.
    encoder = partial(
        SDClipModel,
        textmodel_json_config=text_encoder_params(config),
        return_projected_pooled=False,
    )
    target = comfy.supported_models_base.ClipTarget(SD1Tokenizer, SD1ClipModel)
    target.params = {"clip_model": encoder}
    weights = {**weights, _EMBEDDING: full_embedding(weights[_EMBEDDING], config)}
    state_dict = {f"clip_l.transformer.{name}": tensor for name, tensor in weights.items()}
    width = config.unet.context_dim
    # SD-1.5 has none and uses none; without it ComfyUI would leave the layer's memory as it is.
    projection = torch.eye(width, dtype=weights[_EMBEDDING].dtype)
    state_dict["clip_l.transformer.text_projection.weight"] = projection
    num_parameters = sum(tensor.numel() for tensor in state_dict.values())
    return comfy.sd.CLIP(
        target,
        parameters=num_parameters,
        state_dict=state_dict,
        disable_dynamic=disable_dynamic,
    )


def _vae(config: BaseConfig, weights: dict[str, Tensor]) -> comfy.sd.VAE:
    # Always fp32: it is tiny, and 8 bits of bf16 would show in a picture.
    params: dict[str, Any] = {"params": autoencoder_params(config)}
    weights = {name: tensor.float() for name, tensor in weights.items()}
    return comfy.sd.VAE(sd=weights, config=params, dtype=torch.float32)
