"""What the autoencoder hands on: latents of the right scale, a preview, a PSNR."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from livephoto_core.comfyui.demo_modules import build_autoencoder, initialise_weights
from livephoto_core.shapes.base_training.autoencoder import (
    AutoencoderTask,
    colour_weights,
    fit_latent_rgb,
    mean_psnr,
    normalise_latents,
)
from livephoto_core.shapes.base_training.loop import LoopOptions
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import COLOURS
from livephoto_core.shapes.split import sample_training_scene
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


@pytest.mark.parametrize("colour", COLOURS)
def test_a_shape_counts_the_more_the_less_its_colour_differs_from_the_ground(colour):
    ground, paint = torch.tensor(0.38), torch.tensor(COLOURS[colour])
    picture = ground.expand(32, 32, 3).clone()
    picture[8:24, 8:24] = paint
    weights = colour_weights(picture.movedim(-1, 0)[None] * 2 - 1)[0, 0]
    difference = (2 * (paint - ground)).square().sum().item()
    assert weights[16, 16].item() == pytest.approx(1 + 12.8 / difference)
    assert weights[16, 6] == weights[16, 16]
    assert weights[2, 2] == 1


def test_the_ground_counts_once():
    scene = sample_training_scene(0, 0, motions=("still",))
    weights = colour_weights(render_clip(scene, num_frames=1).movedim(-1, 1) * 2 - 1)[0, 0]
    assert weights[0, 0] == 1


def test_latents_are_decoded_under_noise_that_grows_with_them():
    task = AutoencoderTask(TINY_BASE, LoopOptions(batch_size=4))
    some = pixels(4)
    batch = {"pixels": some, "weights": torch.ones(4, 1, 1, 1)}
    decoded = []

    class Recorded(torch.nn.Module):
        def encode(self, pictures):
            return torch.randn(4, 4, 32, 32, generator=torch.Generator().manual_seed(3)) * 20

        def decode(self, latents):
            decoded.append(latents)
            return torch.zeros_like(some)

    task.loss(Recorded(), batch, torch.Generator().manual_seed(1))
    clean = Recorded().encode(some)
    [noisy] = decoded
    shares = ((noisy - clean) / clean.std(dim=(0, 2, 3))[:, None, None]).std(dim=(1, 2, 3))
    expected = torch.rand(4, 1, 1, 1, generator=torch.Generator().manual_seed(1)).flatten()
    torch.testing.assert_close(shares, expected, rtol=0.1, atol=0)


def test_training_on_from_a_file_begins_with_its_weights_and_pulls_towards_its_latents(start):
    task = AutoencoderTask(TINY_BASE, LoopOptions(batch_size=4), start=start)
    given = start.part("autoencoder")
    for name, weight in task.module.state_dict().items():
        assert torch.equal(weight, given[name].float())
    batch = {"pixels": pixels(4), "weights": torch.ones(4, 1, 1, 1)}
    losses = []
    for pull in (True, False):
        if not pull:
            task._before = None
        with torch.no_grad():
            task.module.quant_conv.bias.zero_().add_(given["quant_conv.bias"].float())
            near = task.loss(task.module, batch, torch.Generator().manual_seed(1))
            task.module.quant_conv.bias.add_(50)
            far = task.loss(task.module, batch, torch.Generator().manual_seed(1))
        losses.append((far - near).item())
    shift = 50 * 0.18215
    assert losses[0] - losses[1] == pytest.approx(0.004 * shift**2, rel=1e-3)
