"""Sampling a video with ComfyUI's samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comfy.sample
import comfy.samplers
import comfy.utils
from torch import Tensor

from .apply import apply_livephoto, empty_latent
from .passing_clone import for_hooks, passing
from .preview import sampling_callback

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from .livephoto_model import LivePhotoModel
    from .reference import LivePhotoReference

SAMPLERS: list[str] = comfy.samplers.KSampler.SAMPLERS
SCHEDULERS: list[str] = comfy.samplers.KSampler.SCHEDULERS


def sample_livephoto(
    model: ModelPatcher,
    livephoto: LivePhotoModel,
    reference: LivePhotoReference,
    *,
    motion_intensity: float,
    num_frames: int,
    positive: list[Any],
    negative: list[Any],
    seed: int,
    num_steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    noise: Any = None,
) -> dict[str, Tensor]:
    """Latents of a video of the reference.

    Args:
        model: SD-1.5 MODEL; it is left as it is.
        livephoto: The checkpoint.
        reference: The photo, encoded for the same checkpoint.
        motion_intensity: 1 (still) to 10 (wild).
        num_frames: Length of the video.
        positive, negative: CONDITIONING.
        seed: Of the noise, where `noise` is not given, and of stochastic samplers.
        num_steps: Denoising steps.
        cfg: Guidance scale; at 1 the negative is not computed.
        sampler_name, scheduler: One of `SAMPLERS`, `SCHEDULERS`.
        noise: NOISE object, such as `PriorNoise`.
    Returns:
        LATENT, (f c h w).
    Raises:
        ValueError: If model, reference, intensity or noise do not fit the checkpoint or the video,
            or sampler or scheduler is unknown.
    """
    _check_known("sampler_name", sampler_name, SAMPLERS)
    _check_known("scheduler", scheduler, SCHEDULERS)
    model = for_hooks(model, positive, negative)
    latent = empty_latent(reference, num_frames)
    with passing(apply_livephoto(model, livephoto, reference, motion_intensity)) as patched:
        out = comfy.sample.sample(
            patched,
            _starting_noise(noise, latent, seed),
            num_steps,
            cfg,
            sampler_name,
            scheduler,
            positive,
            negative,
            latent["samples"],
            callback=sampling_callback(patched, num_steps),
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
            seed=seed,
        )
    return {"samples": out}


def _starting_noise(noise: Any, latent: dict[str, Tensor], seed: int) -> Any:
    if noise is None:
        return comfy.sample.prepare_noise(latent["samples"], seed)
    return noise.generate_noise(latent)


def _check_known(argument: str, name: str, known: list[str]) -> None:
    # ComfyUI would take its first one instead, and say so in its log only.
    if name not in known:
        raise ValueError(f"{argument} must be one of {', '.join(known)}, got {name!r}.")
