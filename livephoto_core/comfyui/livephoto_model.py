"""A checkpoint as ComfyUI holds models: loaded on demand, offloaded when memory runs short."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from comfy.patcher_extension import CallbacksMP
from torch import Tensor

from ..checkpoints import merge_motion_lora, read_checkpoint, read_motion_lora
from ..models.config import SD15, LivePhotoConfig
from ..models.livephoto import LivePhoto

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

SD15_UNET_PARAMETERS = 859_520_964


@dataclass(frozen=True, eq=False)
class LivePhotoModel:
    """What travels along a LIVEPHOTO edge.

    Args:
        name: File name, for messages.
        config: The parts the file carries.
        patcher: ComfyUI's handle on the modules; its `.model` is a `LivePhoto`.
    """

    name: str
    config: LivePhotoConfig
    patcher: ModelPatcher

    @property
    def parts(self) -> LivePhoto:
        """The modules themselves, on whatever device ComfyUI has put them."""
        return self.patcher.model


def load_livephoto(
    path: str | Path, *, motion_lora: str | Path | None = None, lora_strength: float = 1.0
) -> LivePhotoModel:
    """Reads a checkpoint and hands its weights to ComfyUI's memory management.

    Args:
        path: Native, AnimateDiff, AnimateLCM or PIA file.
        motion_lora: AnimateDiff motion LoRA to merge into the motion modules.
        lora_strength: Factor of the LoRA's weights.
    Raises:
        CheckpointError: If a file is not what it should be.
    """
    checkpoint = read_checkpoint(path)
    state_dict = checkpoint.state_dict
    if motion_lora is not None:
        state_dict = merge_motion_lora(state_dict, read_motion_lora(motion_lora), lora_strength)
    return livephoto_from_weights(Path(path).name, checkpoint.config, state_dict)


def livephoto_from_weights(
    name: str, config: LivePhotoConfig, state_dict: dict[str, Tensor]
) -> LivePhotoModel:
    """Builds the modules of `config` around `state_dict` in the dtype ComfyUI would choose."""
    load_device = comfy.model_management.get_torch_device()
    offload_device = comfy.model_management.unet_offload_device()
    dtype = _dtype(config, state_dict, load_device)
    # manual_cast: the base model may run in another dtype, and offloaded weights are cast per
    # layer.
    parts = LivePhoto(config, operations=comfy.ops.manual_cast, device="meta", dtype=dtype)
    # Cast here: under dynamic VRAM ComfyUI's layers keep the dtype of what they are given.
    weights = {key: tensor.to(dtype) for key, tensor in state_dict.items()}
    parts.load_state_dict(weights, strict=True, assign=True)
    parts.requires_grad_(False).eval()
    if hasattr(comfy.model_management, "archive_model_dtypes"):
        comfy.model_management.archive_model_dtypes(parts)
    # Looked up at call time: ComfyUI's start-up rebinds the class for dynamic VRAM.
    patcher = comfy.model_patcher.CoreModelPatcher(
        parts, load_device=load_device, offload_device=offload_device
    )
    patcher.add_callback_with_key(CallbacksMP.ON_LOAD, "livephoto", _load_buffers)
    return LivePhotoModel(name=name, config=config, patcher=patcher)


def _dtype(
    config: LivePhotoConfig, state_dict: dict[str, Tensor], device: torch.device
) -> torch.dtype:
    management: Any = comfy.model_management
    num_parameters = sum(tensor.numel() for tensor in state_dict.values())
    if config.layout == SD15:
        # Beside a base of this size there is less room for fp32 than alone.
        num_parameters += SD15_UNET_PARAMETERS
    stored = next(iter(state_dict.values())).dtype
    dtype = management.unet_dtype(device, num_parameters, weight_dtype=stored)
    # ComfyUI's --fp8 options are for large base models; these weights have no scales for it. The
    # base computes in this dtype then.
    return management.unet_manual_cast(dtype, device) if dtype.itemsize == 1 else dtype


def _load_buffers(patcher: ModelPatcher, device: torch.device | None, *_: Any) -> None:
    """Takes buffers along, a few MB.

    Where memory is short ComfyUI loads layers one by one, and knows only those with weights.
    """
    for module in patcher.model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))
