"""DDIM against diffusers."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler

from livephoto_core.shapes.base_training.sampling import sample_ddim


def test_sampling_agrees_with_diffusers():
    def predict(latents, timesteps, text):
        return torch.tanh(latents * text.mean(dim=(1, 2)).view(-1, 1, 1, 1) + timesteps[0] / 1000)

    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 4, 8, 8, generator=generator)
    text, empty = torch.randn(2, 7, 5, generator=generator), torch.ones(1, 7, 5)
    ours = sample_ddim(predict, text, empty, noise=noise, num_steps=20, cfg=3.0)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="linear",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(20)
    theirs = noise
    for timestep in scheduler.timesteps:
        times = timestep.expand(2)
        cond, uncond = predict(theirs, times, text), predict(theirs, times, empty.expand_as(text))
        theirs = scheduler.step(uncond + 3.0 * (cond - uncond), timestep, theirs).prev_sample
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
