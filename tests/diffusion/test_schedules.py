from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from livephoto_core.diffusion.schedules import (
    schedule_alphas_cumprod,
    schedule_betas,
    schedule_sigmas,
)

SCHEDULES = ["scaled_linear", "linear"]


def closed_form_beta(schedule: str, step: int) -> float:
    """β of one timestep as ComfyUI defines it ("linear" and "sqrt_linear" in its words)."""
    if schedule == "linear":
        return 0.00085 + step / 999 * (0.012 - 0.00085)
    return (0.00085**0.5 + step / 999 * (0.012**0.5 - 0.00085**0.5)) ** 2


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_alphas_cumprod_equal_diffusers_schedulers(schedule):
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule=schedule)

    torch.testing.assert_close(
        schedule_alphas_cumprod(schedule).float(), scheduler.alphas_cumprod, rtol=2e-5, atol=0
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_betas_equal_the_closed_form(schedule):
    expected = [closed_form_beta(schedule, step) for step in range(1000)]

    np.testing.assert_allclose(schedule_betas(schedule).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "sigma_min", "sigma_max"),
    # ComfyUI 0.30: ((1 - a) / a) ** 0.5 of a = cumprod(1 - make_beta_schedule(name, 1000, .00085,
    # .012)) with name "linear", "sqrt_linear"
    [("scaled_linear", 0.0291671582, 14.6146412), ("linear", 0.0291671582, 25.1461148)],
)
def test_sigmas_span_comfyuis_range(schedule, sigma_min, sigma_max):
    sigmas = schedule_sigmas(schedule)

    assert sigmas[0].item() == pytest.approx(sigma_min, rel=1e-6)
    assert sigmas[-1].item() == pytest.approx(sigma_max, rel=1e-6)
    assert (sigmas.diff() > 0).all()


def test_comfyuis_name_is_refused_with_the_translation():
    comfyuis_name: Any = "sqrt_linear"
    with pytest.raises(ValueError, match="'sqrt_linear'.*ComfyUI"):
        schedule_betas(comfyuis_name)
