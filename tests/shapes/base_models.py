"""A base model small enough for a test of seconds, and what its training starts from."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from livephoto_core.comfyui.demo_modules import (
    build_autoencoder,
    build_content_encoder,
    build_unet,
    initialise_weights,
)
from livephoto_core.comfyui.demo_text import TextEncoder, known_token_ids
from livephoto_core.models.config import UNetLayout
from livephoto_core.shapes.base_model import (
    AutoencoderConfig,
    BaseConfig,
    ContentEncoderConfig,
    TextEncoderConfig,
    write_base_model,
)
from livephoto_core.shapes.base_training.autoencoder import normalise_latents
from livephoto_core.shapes.base_training.loop import LoopOptions
from livephoto_core.shapes.base_training.options import TextToImageOptions
from livephoto_core.shapes.base_training.pictures import render_pixels, sample_picture
from livephoto_core.shapes.base_training.text_to_image import TextToImageTask
from livephoto_core.shapes.captions import VOCABULARY

TINY_BASE = BaseConfig(
    unet=UNetLayout(
        block_channels=(32, 64),
        layers_per_block=1,
        attention_levels=(0,),
        context_dim=32,
        num_heads=4,
    ),
    autoencoder=AutoencoderConfig(channel_multipliers=(1, 1, 1, 1)),
    text_encoder=TextEncoderConfig(
        num_layers=2, num_heads=2, token_ids=known_token_ids((*VOCABULARY, ","))
    ),
    content_encoder=ContentEncoderConfig(width=64, num_layers=1),
    size_px=32,
)
OPTIONS = LoopOptions(
    num_steps=6,
    batch_size=2,
    learning_rate=2e-3,
    warmup_steps=2,
    num_workers=0,
    log_steps=1,
    save_steps=3,
    show_steps=100,
)


def pixels(count: int) -> Tensor:
    """The first pictures of the training stream, (b 3 h w)."""
    pictures = [sample_picture(0, index) for index in range(count)]
    return render_pixels(pictures, TINY_BASE.size_px)


def text_to_image(options: LoopOptions, encoded, autoencoder, **extra) -> TextToImageTask:
    """The task of the base model proper."""
    return TextToImageTask(
        TINY_BASE,
        options,
        latents=encoded,
        autoencoder=autoencoder,
        extra=TextToImageOptions(**extra),
    )


def write_random_base(path: Path, config: BaseConfig = TINY_BASE) -> Path:
    """A base model's file with random weights."""
    unet, autoencoder = build_unet(config), build_autoencoder(config)
    text_encoder = TextEncoder(config)
    for seed, module in enumerate((unet, autoencoder, text_encoder)):
        initialise_weights(module, seed)
    normalise_latents(autoencoder.requires_grad_(False), pixels(8))
    modules = {
        "unet": unet,
        "autoencoder": autoencoder,
        "text_encoder": text_encoder,
        "content_encoder": build_content_encoder(config),
    }
    parts = {name: module.state_dict() for name, module in modules.items()}
    write_base_model(path, config, parts, {})
    return path


def logged(folder: Path) -> list[dict[str, float]]:
    """The log of a run."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
