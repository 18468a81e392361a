"""Puts ComfyUI on the path before test files are read, as tests/comfyui does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from harness.environment import prepare
from livephoto_core.comfyui.standalone import use_comfyui


def pytest_configure(config: pytest.Config) -> None:
    use_comfyui(prepare().comfyui, device=config.getoption("device"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On networks this small, threads that wait for each other cost more than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def autoencoder():
    """An autoencoder with random weights and normalised latents."""
    from livephoto_core.comfyui.demo_modules import build_autoencoder, initialise_weights
    from livephoto_core.shapes.base_training.autoencoder import normalise_latents
    from tests.shapes.base_models import TINY_BASE, pixels

    autoencoder = build_autoencoder(TINY_BASE).requires_grad_(False).eval()
    initialise_weights(autoencoder, 0)
    normalise_latents(autoencoder, pixels(32))
    return autoencoder


@pytest.fixture(scope="session")
def encoded(autoencoder, tmp_path_factory):
    """Latents of 64 pictures."""
    from livephoto_core.shapes.base_training.latents import encode_pictures
    from tests.shapes.base_models import TINY_BASE

    folder = tmp_path_factory.mktemp("latents")
    return encode_pictures(autoencoder, TINY_BASE, folder, num_pictures=64, seed=0, num_workers=0)


@pytest.fixture
def start(tmp_path):
    """A base model's file to train on from."""
    from livephoto_core.shapes.base_model import open_base_model
    from tests.shapes.base_models import write_random_base

    return open_base_model(write_random_base(tmp_path / "start.safetensors"))
