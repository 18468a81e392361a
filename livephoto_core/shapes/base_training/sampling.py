"""Pictures from sentences, by DDIM, without ComfyUI's samplers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...diffusion.inversion import inversion_timesteps
from ...diffusion.schedules import schedule_alphas_cumprod
from ..base_model import NOISE_SCHEDULE

NoisePredictor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Noise (b c h w) from noisy latents (b c h w), timesteps (b) and text (b n d)."""


@torch.no_grad()
def sample_ddim(
    predict: NoisePredictor,
    text: Tensor,
    empty_text: Tensor,
    *,
    noise: Tensor,
    num_steps: int = 25,
    cfg: float = 4.0,
) -> Tensor:
    """Latents by deterministic DDIM with classifier-free guidance.

    z_s = √ᾱ_s · (z_t − √(1−ᾱ_t)·ε) / √ᾱ_t + √(1−ᾱ_s)·ε   (DDIM, eq. 12 with σ = 0)

    Args:
        predict: The UNet.
        text: Of each picture, (b n d).
        empty_text: The empty prompt's, (1 n d).
        noise: Where to start, (b c h w).
        num_steps: Calls of the UNet.
        cfg: Guidance scale.
    Returns:
        Clean latents, (b c h w), in the UNet's scale.
    """
    alphas = schedule_alphas_cumprod(NOISE_SCHEDULE)
    timesteps = torch.tensor(inversion_timesteps(len(alphas), num_steps)).flip(0)
    levels = [*alphas[timesteps].tolist(), 1.0]
    both = torch.cat([text, empty_text.expand_as(text)])
    latents = noise
    for step, timestep in enumerate(timesteps):
        times = timestep.expand(2 * len(latents)).to(latents.device)
        cond, uncond = predict(latents.repeat(2, 1, 1, 1), times, both).chunk(2)
        epsilon = uncond + cfg * (cond - uncond)
        clean = (latents - (1 - levels[step]) ** 0.5 * epsilon) / levels[step] ** 0.5
        latents = levels[step + 1] ** 0.5 * clean + (1 - levels[step + 1]) ** 0.5 * epsilon
    return latents
