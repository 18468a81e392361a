"""What is timed: the bare UNet, then one part after the other, then diffusers."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from comfy.model_patcher import ModelPatcher

from livephoto_core.comfyui.apply import apply_livephoto
from livephoto_core.comfyui.livephoto_model import livephoto_from_weights
from livephoto_core.models.config import (
    ContentConfig,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    TextReweightingConfig,
    UNetLayout,
)
from livephoto_core.models.livephoto import LivePhoto
from tests.comfyui.sampling import sample
from tests.comfyui.tiny_models import random_reference, tiny_livephoto, tiny_sd15

MOTION = LivePhotoConfig(motion=MotionConfig())
CHANNELS = replace(MOTION, input_conditioning=InputConditioningConfig())
CONTENT = replace(CHANNELS, content=ContentConfig(encoder="dinov2-base", encoder_dim=768))
FULL = replace(CONTENT, text_reweighting=TextReweightingConfig())
PIA = replace(
    MOTION,
    input_conditioning=InputConditioningConfig(channels=("affinity", "reference")),
    cross_frame_group_norm=True,
)

Timer = Callable[[], float]
"""Runs and returns the seconds of one guided step."""


def variants(options: argparse.Namespace) -> dict[str, Timer]:
    """A timer for every variant, the bare UNet first."""
    model = tiny_sd15(UNetLayout())
    weights = tiny_livephoto(FULL).parts.state_dict()
    timers = {"bare UNet": _comfyui_timer(model, options)}
    for name, config in {
        "+ motion modules": MOTION,
        "+ input channels": CHANNELS,
        "+ content tokens": CONTENT,
        "+ text weighted per frame (all of LivePhoto)": FULL,
        "PIA: motion, input, cross-frame GroupNorm": PIA,
    }.items():
        applied = _applied(model, config, weights, options)
        text_frames = options.frames if config.text_reweighting is not None else 1
        timers[name] = _comfyui_timer(applied, options, text_frames=text_frames)
    if not options.without_diffusers:
        timers["diffusers UNetMotionModel"] = _diffusers_timer(options)
    return timers


def _applied(
    model: ModelPatcher,
    config: LivePhotoConfig,
    weights: dict[str, torch.Tensor],
    options: argparse.Namespace,
) -> ModelPatcher:
    """The parts of `config` on `model`, sharing memory with the other variants."""
    wanted = LivePhoto(config, device="meta").state_dict()
    own = {
        key: weights[key] if weights[key].shape == meta.shape else torch.randn(meta.shape) * 0.02
        for key, meta in wanted.items()
    }
    reference = random_reference(config, height=options.size // 8, width=options.size // 8)
    if config.content is not None:
        tokens = torch.randn(1, 256, config.content.encoder_dim)
        reference = replace(reference, patch_tokens=tokens)
    return apply_livephoto(model, livephoto_from_weights("benchmark", config, own), reference, 5)


def _comfyui_timer(
    model: ModelPatcher, options: argparse.Namespace, *, text_frames: int = 1
) -> Timer:
    """Times the second of two steps of ComfyUI's sampler: the first also prepares the run."""
    text = [[torch.randn(text_frames, 77, 768), {}]]

    def seconds_per_step() -> float:
        times: list[float] = []
        sample(
            model,
            frames=options.frames,
            size=options.size // 8,
            positive=text,
            negative=text,
            callback=lambda *_: times.append(_now(options.device)),
        )
        return times[1] - times[0]

    return seconds_per_step


def _diffusers_timer(options: argparse.Namespace) -> Timer:
    from diffusers import UNetMotionModel  # only here: --without-diffusers does without it

    dtype = torch.float32 if options.device == "cpu" else torch.float16
    network = UNetMotionModel(
        num_attention_heads=8,
        motion_num_attention_heads=8,
        cross_attention_dim=768,
        use_motion_mid_block=True,
    )
    network = network.requires_grad_(False).eval().to(options.device, dtype)
    side = options.size // 8
    latents = torch.randn(2, 4, options.frames, side, side).to(options.device, dtype)
    text = torch.randn(2 * options.frames, 77, 768).to(options.device, dtype)

    def seconds_per_step() -> float:
        start = _now(options.device)
        with torch.inference_mode():
            network(latents, 500, text)
        return _now(options.device) - start

    return seconds_per_step


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
