import math

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddim_inverse import DDIMInverseScheduler
from torch import nn

from livephoto_core.diffusion.inversion import ddim_inversion, inversion_timesteps
from livephoto_core.diffusion.schedules import schedule_alphas_cumprod

ALPHAS_CUMPROD = schedule_alphas_cumprod("scaled_linear")
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "set_alpha_to_one": True,
}


class SmoothModel(nn.Module):
    """Noise prediction of a Gaussian image model, bent by a small convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    @torch.no_grad()
    def forward(self, latents, timestep):
        alpha = ALPHAS_CUMPROD[timestep].item()
        noise = gaussian_noise(latents, timestep, mean=0.2, deviation=0.8)
        return noise + 0.1 * (1 - alpha) ** 0.5 * torch.tanh(self.conv(latents))


def gaussian_noise(latents, timestep, *, mean, deviation):
    """The exact noise prediction where every clean value is drawn from N(mean, deviation²)."""
    alpha = ALPHAS_CUMPROD[timestep].item()
    variance = alpha * deviation**2 + 1 - alpha
    return (1 - alpha) ** 0.5 * (latents - alpha**0.5 * mean) / variance


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SmoothModel()


@pytest.fixture
def latents():
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("num_steps", [1, 10, 25, 50])
def test_every_step_equals_diffusers_inverse_scheduler(model, latents, num_steps):
    scheduler = DDIMInverseScheduler(**SCHEDULER)
    scheduler.set_timesteps(num_steps)
    expected = [latents]
    for timestep in scheduler.timesteps.tolist():
        noise = model(expected[-1], timestep)
        expected.append(scheduler.step(noise, timestep, expected[-1], return_dict=False)[0])
    visited = []

    def predict_noise(latents, timestep):
        visited.append((timestep, latents))
        return model(latents, timestep)

    inverted = ddim_inversion(
        predict_noise,
        latents,
        alphas_cumprod=scheduler.alphas_cumprod,
        num_steps=num_steps,
    )

    assert [timestep for timestep, _ in visited] == scheduler.timesteps.tolist()
    for ours, theirs in zip([x for _, x in visited] + [inverted], expected, strict=True):
        assert (ours - theirs).norm() <= 1e-6 * theirs.norm()


def test_sampling_gives_the_reference_back_at_50_steps(model, latents):
    inverted = ddim_inversion(model, latents, alphas_cumprod=ALPHAS_CUMPROD, num_steps=50)
    scheduler = DDIMScheduler(**SCHEDULER)
    scheduler.set_timesteps(50)
    sampled = inverted
    for timestep in scheduler.timesteps.tolist():
        noise = model(sampled, timestep)
        sampled = scheduler.step(noise, timestep, sampled, return_dict=False)[0]

    peak = (latents.max() - latents.min()).item()
    psnr = 20 * math.log10(peak / (sampled - latents).square().mean().sqrt().item())
    assert psnr >= 30
    assert (inverted - latents).abs().max() > 0.1


def test_many_steps_approach_the_exact_flow_of_a_gaussian(latents):
    """The probability flow keeps every value's distance from the mean in standard deviations."""
    alpha = ALPHAS_CUMPROD[-1].item()
    deviation = (alpha * 0.8**2 + 1 - alpha) ** 0.5
    exact = alpha**0.5 * 0.2 + deviation * (latents - 0.2) / 0.8

    def error(num_steps):
        inverted = ddim_inversion(
            lambda x, t: gaussian_noise(x, t, mean=0.2, deviation=0.8),
            latents,
            alphas_cumprod=ALPHAS_CUMPROD,
            num_steps=num_steps,
        )
        return ((inverted - exact).norm() / exact.norm()).item()

    assert error(1000) < 5e-3
    assert error(500) < 0.6 * error(250)


def test_half_precision_latents_are_inverted_in_fp32(model, latents):
    half = latents.half()
    seen = []

    def predict_noise(latents, timestep):
        seen.append(latents.dtype)
        return model(latents, timestep).half()

    inverted = ddim_inversion(predict_noise, half, alphas_cumprod=ALPHAS_CUMPROD, num_steps=3)

    assert inverted.dtype == torch.float32
    assert set(seen) == {torch.float32}


def test_progress_counts_the_steps_and_can_stop_them(model, latents):
    done = []

    def progress(step, total):
        done.append((step, total))
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ddim_inversion(
            model, latents, alphas_cumprod=ALPHAS_CUMPROD, num_steps=5, progress=progress
        )
    assert done == [(1, 5), (2, 5), (3, 5)]


@pytest.mark.parametrize("num_steps", [7, 30, 999, 1000])
def test_timesteps_rise_to_the_last_one_for_any_number_of_steps(num_steps):
    timesteps = inversion_timesteps(1000, num_steps)

    assert len(timesteps) == num_steps
    assert timesteps == sorted(set(timesteps))
    assert timesteps[0] >= 0
    assert timesteps[-1] == 999


@pytest.mark.parametrize("num_steps", [0, 1001])
def test_impossible_numbers_of_steps_are_refused(model, latents, num_steps):
    with pytest.raises(ValueError, match=f"num_steps must be from 1 to 1000.*got {num_steps}"):
        ddim_inversion(model, latents, alphas_cumprod=ALPHAS_CUMPROD, num_steps=num_steps)


@pytest.mark.parametrize(
    "alphas_cumprod",
    [
        ALPHAS_CUMPROD.flip(0),
        torch.cat([ALPHAS_CUMPROD[:-1], torch.zeros(1)]),
        torch.ones(2, 3),
        torch.ones(()),
        torch.tensor([math.nan]),
        torch.ones(0),
    ],
)
def test_impossible_schedules_are_refused(model, latents, alphas_cumprod):
    with pytest.raises(ValueError, match="alphas_cumprod must be"):
        ddim_inversion(model, latents, alphas_cumprod=alphas_cumprod, num_steps=1)


def test_nan_from_the_model_is_reported_with_its_timestep(latents):
    with pytest.raises(ValueError, match="model: its prediction at timestep 499 holds NaN"):
        ddim_inversion(
            lambda x, t: x * math.nan, latents, alphas_cumprod=ALPHAS_CUMPROD, num_steps=2
        )


def test_nan_latents_are_refused_before_the_model_runs(latents):
    with pytest.raises(ValueError, match="latents holds NaN"):
        ddim_inversion(
            lambda x, t: pytest.fail("was called"),
            latents * math.inf,
            alphas_cumprod=ALPHAS_CUMPROD,
            num_steps=2,
        )


def test_prediction_of_another_shape_is_refused(latents):
    with pytest.raises(ValueError, match=r"must return the shape.*got \(1, 2, 16, 16\)"):
        ddim_inversion(lambda x, t: x[:, :2], latents, alphas_cumprod=ALPHAS_CUMPROD, num_steps=2)
