"""The two noise schedules that SD-1.5 and its motion models were trained with."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from ..models.config import NoiseSchedule

NUM_TIMESTEPS = 1000
FIRST_BETA = 0.00085
LAST_BETA = 0.012


def schedule_betas(schedule: NoiseSchedule) -> Tensor:
    """Variance added at each timestep.

    `scaled_linear` (Stable Diffusion) is linear in √β, `linear` (AnimateDiff, PIA) is linear in β.

    Args:
        schedule: By its diffusers name; see `NoiseSchedule` for the names ComfyUI uses.
    Returns:
        (1000,), float64.
    Raises:
        ValueError: If the schedule is unknown.
    """
    if schedule == "scaled_linear":
        return (
            torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, NUM_TIMESTEPS, dtype=torch.float64) ** 2
        )
    if schedule == "linear":
        return torch.linspace(FIRST_BETA, LAST_BETA, NUM_TIMESTEPS, dtype=torch.float64)
    raise ValueError(
        f"noise schedule must be one of {', '.join(get_args(NoiseSchedule))}, got {schedule!r}. "
        'ComfyUI and ldm call "scaled_linear" "linear", and "linear" "sqrt_linear".'
    )


def schedule_alphas_cumprod(schedule: NoiseSchedule) -> Tensor:
    """ᾱₜ = ∏ₛ₌₀ᵗ (1 − βₛ): how much of the image's variance is left at each timestep (eq. 1).

    Returns:
        (1000,), float64, falling from almost 1.
    Raises:
        ValueError: If the schedule is unknown.
    """
    return torch.cumprod(1 - schedule_betas(schedule), dim=0)


def schedule_sigmas(schedule: NoiseSchedule) -> Tensor:
    """σₜ = √((1 − ᾱₜ) / ᾱₜ): noise per unit of image, as ComfyUI's samplers count it.

    Returns:
        (1000,), float64, rising to 14.61 (`scaled_linear`) or 25.15 (`linear`).
    Raises:
        ValueError: If the schedule is unknown.
    """
    alphas_cumprod = schedule_alphas_cumprod(schedule)
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()
