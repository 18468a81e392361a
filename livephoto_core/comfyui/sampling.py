"""Sampling a video with ComfyUI's samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
from torch import Tensor

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

SAMPLERS: list[str] = comfy.samplers.KSampler.SAMPLERS
SCHEDULERS: list[str] = comfy.samplers.KSampler.SCHEDULERS


def sample_livephoto(
    model: ModelPatcher,
    latent: dict[str, Tensor],
    *,
    positive: list[Any],
    negative: list[Any],
    seed: int,
    num_steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    noise: Any = None,
) -> dict[str, Tensor]:
    """Latents of a video.

    Args:
        model: From `apply_livephoto`.
        latent: Empty LATENT of the video, (f c h w).
        positive, negative: CONDITIONING.
        seed: Of the noise, where `noise` is not given, and of stochastic samplers.
        num_steps: Denoising steps.
        cfg: Guidance scale; at 1 the negative is not computed.
        sampler_name, scheduler: One of `SAMPLERS`, `SCHEDULERS`.
        noise: NOISE object, such as `PriorNoise`.
    Returns:
        LATENT, (f c h w).
    """
    samples = latent["samples"]
    initial = (
        comfy.sample.prepare_noise(samples, seed) if noise is None else noise.generate_noise(latent)
    )
    out = comfy.sample.sample(
        model,
        initial,
        num_steps,
        cfg,
        sampler_name,
        scheduler,
        positive,
        negative,
        samples,
        callback=latent_preview.prepare_callback(model, num_steps),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    )
    return {"samples": out}
