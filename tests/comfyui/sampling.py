"""One call that samples, for the tests of hooks."""

from __future__ import annotations

import comfy.sample
import torch

from tests.comfyui.tiny_models import random_text


def sample(
    model,
    *,
    frames=4,
    size=8,
    cfg=3.0,
    steps=2,
    positive=None,
    negative=None,
    sampler="euler",
    scheduler="normal",
    seed=0,
    callback=None,
):
    """Latents (frames 4 size size) from seeded noise."""
    latent = torch.zeros(frames, 4, size, size)
    return comfy.sample.sample(
        model,
        comfy.sample.prepare_noise(latent, seed),
        steps,
        cfg,
        sampler,
        scheduler,
        random_text() if positive is None else positive,
        random_text(seed=5) if negative is None else negative,
        latent,
        callback=callback,
        disable_pbar=True,
        seed=seed,
    )
