"""DDIM inversion: the noise from which DDIM sampling would give a latent back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def ddim_inversion(
    predict_noise: Callable[[Tensor, int], Tensor],
    latents: Tensor,
    *,
    alphas_cumprod: Tensor,
    num_steps: int,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The latents carried up the noise schedule to its last timestep, without any randomness.

    z_t = √ᾱ_t · (z_s − √(1−ᾱ_s)·ε) / √ᾱ_s + √(1−ᾱ_t)·ε,   ε = ε_θ(z_s, t),  s < t

    (DDIM, section 4.3). The latent is the lower level's, the timestep the higher one's: the same
    convention as diffusers' `DDIMInverseScheduler`, and the one whose errors the sampler undoes,
    because the sampler leaves z_t with the prediction made at t.

    The steps are spaced back from the last timestep ("trailing"), so that the result is noise of
    the level at which sampling starts, and the first step leaves from the clean latents, ᾱ = 1.

    Args:
        predict_noise: Noise ε in latents (…) at an integer timestep, in the latents' shape.
        latents: Clean latents, scaled as the model expects them (variance about 1).
        alphas_cumprod: ᾱ of every timestep, (t,), falling, within (0, 1).
        num_steps: Calls of `predict_noise`, from 1 to the number of timesteps.
        progress: Called with (steps done, num_steps) after each step. What it raises ends the run.
    Returns:
        Inverted latents, shape of `latents`, float32, in variance-preserving space (unit variance;
        multiply by √(1+σ²) for ComfyUI's noise-per-image scale).
    Raises:
        ValueError: If `alphas_cumprod` or `num_steps` are out of range, or the latents or a
            prediction hold NaN or infinite values or the prediction has another shape.
    """
    alphas = _check_alphas_cumprod(alphas_cumprod)
    timesteps = inversion_timesteps(len(alphas), num_steps)
    levels = [1.0, *alphas[timesteps].tolist()]
    latents = _check_finite("latents", latents.to(torch.float32))
    for step, timestep in enumerate(timesteps):
        noise = predict_noise(latents, timestep).to(torch.float32)
        if noise.shape != latents.shape:
            raise ValueError(
                f"predict_noise must return the shape of its latents, {tuple(latents.shape)}, "
                f"got {tuple(noise.shape)} at timestep {timestep}."
            )
        _check_finite(f"model: its prediction at timestep {timestep}", noise)
        latents = _ddim_move(latents, noise, levels[step], levels[step + 1])
        if progress is not None:
            progress(step + 1, num_steps)
    return latents


def inversion_timesteps(num_timesteps: int, num_steps: int) -> list[int]:
    """The timesteps that are visited, rising, the last one always `num_timesteps` − 1.

    Args:
        num_timesteps: Timesteps of the noise schedule.
        num_steps: How many to visit.
    Raises:
        ValueError: If `num_steps` is not from 1 to `num_timesteps`.
    """
    if not 1 <= num_steps <= num_timesteps:
        raise ValueError(
            f"num_steps must be from 1 to {num_timesteps}, the timesteps of the noise schedule, "
            f"got {num_steps}."
        )
    return [round((step + 1) * num_timesteps / num_steps) - 1 for step in range(num_steps)]


def _ddim_move(latents: Tensor, noise: Tensor, alpha_from: float, alpha_to: float) -> Tensor:
    # Python floats keep the coefficients in double precision while the latents stay in fp32.
    clean = (latents - (1 - alpha_from) ** 0.5 * noise) / alpha_from**0.5
    return alpha_to**0.5 * clean + (1 - alpha_to) ** 0.5 * noise


def _check_alphas_cumprod(alphas_cumprod: Tensor) -> Tensor:
    alphas = alphas_cumprod.detach().to("cpu", torch.float64)
    is_falling = alphas.ndim == 1 and len(alphas) > 0 and bool((alphas.diff() < 0).all())
    if not (is_falling and alphas[-1] > 0 and alphas[0] < 1):
        raise ValueError(
            "alphas_cumprod must be one value per timestep, falling, within (0, 1), got shape "
            f"{tuple(alphas.shape)}. Zero-terminal-SNR schedules, which end at 0, have no inverse."
        )
    return alphas


def _check_finite(name: str, values: Tensor) -> Tensor:
    if not values.isfinite().all():
        raise ValueError(
            f"{name} holds NaN or infinite values. If the model computes in half precision, run it "
            "in float32 (ComfyUI: --fp32-unet); else take another checkpoint."
        )
    return values
