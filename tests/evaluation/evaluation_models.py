"""Folders of tiny CLIP and DINO models with random weights, as a hub would have them."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def write_clip(folder: Path) -> Path:
    """A whole CLIP, text tower included, as in openai/clip-vit-base-patch32."""
    text = {"intermediate_size": 37, "vocab_size": 99, **SIZES}
    vision = {"intermediate_size": 37, "image_size": 30, "patch_size": 6, **SIZES}
    model = _made(lambda: CLIPModel(CLIPConfig(text_config=text, vision_config=vision)))
    model.save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 30}, "crop_size": {"height": 30, "width": 30}}
    CLIPImageProcessor(**sizes).save_pretrained(folder)
    return folder


def write_clip_vision(folder: Path) -> Path:
    """The image tower alone."""
    config = CLIPVisionConfig(intermediate_size=37, image_size=30, patch_size=6, **SIZES)
    _made(lambda: CLIPVisionModelWithProjection(config)).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 30}, "crop_size": {"height": 30, "width": 30}}
    CLIPImageProcessor(**sizes).save_pretrained(folder)
    return folder


def write_dino(folder: Path) -> Path:
    """DINO v1, as facebook/dino-vits16."""
    config = ViTConfig(intermediate_size=37, image_size=30, patch_size=6, **SIZES)
    _made(lambda: ViTModel(config)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 30, "width": 30}).save_pretrained(folder)
    return folder


def write_dinov2(folder: Path) -> Path:
    config = Dinov2Config(image_size=28, patch_size=14, **SIZES)
    _made(lambda: Dinov2Model(config)).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 30}, "crop_size": {"height": 28, "width": 28}}
    BitImageProcessor(**sizes).save_pretrained(folder)
    return folder


def _made(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model
