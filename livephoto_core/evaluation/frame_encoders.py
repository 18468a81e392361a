"""CLIP and DINO as frame encoders, from local folders in transformers' layout.

Only the classes named here are built and only safetensors are read, whatever a folder's
configuration asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

CONFIG_FILE = "config.json"
_CLIP_TYPES = ("clip", "clip_vision_model")
_DINO_TYPES = ("vit", "dinov2")


class FrameEncoder:
    """Embeddings of frames by CLIP's image tower or by DINO.

    Args:
        folder: With `config.json`, `preprocessor_config.json` and `model.safetensors`.
        kind: "clip": the projected image embedding. "dino": the class token of a DINO (ViT) or
            DINOv2.
        device: Where to compute.
    Raises:
        ValueError: If the folder lacks a file or holds another model.
    """

    def __init__(self, folder: Path, kind: str, *, device: str = "cpu") -> None:
        self.kind = kind
        self._model, self._processor = _load(folder, kind)
        self._model = self._model.eval().requires_grad_(False).to(device)
        self._device = device

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> Tensor:
        """Embeddings, (n d), float32 on the CPU, of frames (n h w 3), uint8."""
        pixels = self._processor(images=list(frames), return_tensors="pt")["pixel_values"]
        out = self._model(pixels.to(self._device))
        embeddings = out.image_embeds if self.kind == "clip" else out.last_hidden_state[:, 0]
        return embeddings.float().cpu()


def _load(folder: Path, kind: str) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor

    model_type = _model_type(folder, kind)
    known = _CLIP_TYPES if kind == "clip" else _DINO_TYPES
    if model_type not in known:
        raise ValueError(
            f"--{kind}: {folder} holds a {model_type!r} model, expected one of {', '.join(known)}."
        )
    local: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = AutoImageProcessor.from_pretrained(str(folder), **local)
        model = _model_class(model_type).from_pretrained(
            str(folder), use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--{kind}: {folder} cannot be loaded ({error}). It must hold {CONFIG_FILE}, "
            "preprocessor_config.json and model.safetensors. Where it has pytorch_model.bin alone, "
            "load it with transformers and save it into the same folder with save_pretrained."
        ) from error
    return model, processor


def _model_type(folder: Path, kind: str) -> str:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ValueError(
            f"--{kind}: {folder} has no {CONFIG_FILE}. Give the local folder of a model in "
            "transformers' layout."
        )
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("model_type"))
    except (ValueError, AttributeError) as error:
        raise ValueError(f"--{kind}: {path} is damaged ({error}).") from error


def _model_class(model_type: str) -> Any:
    import transformers

    names = {"vit": "ViTModel", "dinov2": "Dinov2Model"}
    return getattr(transformers, names.get(model_type, "CLIPVisionModelWithProjection"))
