"""DINOv2 under ComfyUI's memory management."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import comfy.model_management
import comfy.model_patcher
import torch
from torch import Tensor

from ..checkpoints.dinov2 import read_dinov2
from ..models.content_encoder import build_dinov2, encode_patch_tokens

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from transformers import Dinov2Model


@dataclass(frozen=True, eq=False)
class ContentEncoder:
    """A frozen DINOv2.

    Args:
        name: Such as "dinov2-large".
        dim: Width of its patch tokens.
        patcher: ComfyUI's handle on transformers' Dinov2Model.
        knows_only_shapes: Whether it belongs to the demo model, to which photos mean nothing.
    """

    name: str
    dim: int
    patcher: ModelPatcher
    knows_only_shapes: bool = False

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """Patch tokens of whole pictures at 224×224 pixels.

        Args:
            images: (b h w 3) in 0…1.
        Returns:
            (b 256 d).
        """
        # In full: the plain layers inside are not cast from the CPU one by one.
        comfy.model_management.load_models_gpu([self.patcher], force_full_load=True)
        [model] = self.patcher.model
        return encode_patch_tokens(model, images.to(self.patcher.load_device))


def load_content_encoder(path: str | Path) -> ContentEncoder:
    """Reads a DINOv2 (small, base, large or giant) from one local file.

    Raises:
        ValueError: If the file is damaged or holds another kind of model.
    """
    return wrap_dinov2(*read_dinov2(path))


_from_core: WeakKeyDictionary[Any, ContentEncoder] = WeakKeyDictionary()


def as_content_encoder(clip_vision: Any) -> ContentEncoder:
    """A content encoder from this pack's loader as it is, or from ComfyUI's CLIPVisionLoader.

    Core runs DINOv2 at 518 px, LivePhoto wants 224 px: its weights are put into our module.

    Raises:
        ValueError: If it is no DINOv2 but, say, CLIP or SigLIP.
    """
    if isinstance(clip_vision, ContentEncoder):
        return clip_vision
    if clip_vision not in _from_core:
        # From wherever it lies: nothing has made room for an fp32 copy on the GPU.
        weights = {name: weight.cpu() for name, weight in clip_vision.get_sd().items()}
        _from_core[clip_vision] = wrap_dinov2(*build_dinov2(weights))
    return _from_core[clip_vision]


def wrap_dinov2(model: Dinov2Model, name: str) -> ContentEncoder:
    """Puts a DINOv2 under ComfyUI's memory management."""
    # Plain fp32 layers: the encoder runs once per photo, and is small beside the UNet.
    model = model.float().requires_grad_(False).eval()
    management: Any = comfy.model_management
    load_device = management.text_encoder_device()
    if management.module_size(model) > management.get_total_memory(load_device):
        load_device = torch.device("cpu")
    patcher = comfy.model_patcher.ModelPatcher(
        # In a list of one: ModelPatcher sets `device`, read-only in transformers' classes.
        torch.nn.ModuleList([model]),
        load_device=load_device,
        offload_device=management.text_encoder_offload_device(),
    )
    return ContentEncoder(name=name, dim=model.config.hidden_size, patcher=patcher)
