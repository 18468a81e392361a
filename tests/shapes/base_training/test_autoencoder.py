"""What the autoencoder hands on: latents of the right scale, a preview, a PSNR."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from livephoto_core.comfyui.demo_modules import build_autoencoder, initialise_weights
from livephoto_core.shapes.base_training.autoencoder import (
    fit_latent_rgb,
    mean_psnr,
    normalise_latents,
)
from tests.shapes.base_models import TINY_BASE, pixels


def test_normalised_latents_have_the_scale_of_sd15_and_give_the_same_pictures():
    autoencoder = build_autoencoder(TINY_BASE).requires_grad_(False).eval()
    initialise_weights(autoencoder, 1)
    some = pixels(32)
    before = autoencoder.decode(autoencoder.encode(some))
    normalise_latents(autoencoder, some)
    latents = autoencoder.encode(some)
    unet_scale = latents * 0.18215
    torch.testing.assert_close(unet_scale.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(unet_scale.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(autoencoder.decode(latents), before, atol=1e-4, rtol=1e-4)


def test_linear_preview_is_the_least_squares_fit(autoencoder):
    some = pixels(8)
    rows = np.array(fit_latent_rgb(autoencoder, some))
    latents = (autoencoder.encode(some) * 0.18215).movedim(1, -1).flatten(0, 2).double().numpy()
    small = some.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).mean(dim=(-1, -3))
    target = small.movedim(1, -1).flatten(0, 2).double().numpy()
    inputs = np.concatenate([latents, np.ones((len(latents), 1))], axis=1)
    np.testing.assert_allclose(rows, np.linalg.pinv(inputs) @ target, atol=2e-3)


def test_psnr_of_a_known_error():
    some = torch.zeros(2, 3, 8, 8)
    assert mean_psnr(some + 0.2, some) == pytest.approx(20.0, abs=1e-3)
