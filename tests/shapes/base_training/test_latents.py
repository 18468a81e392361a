"""Encoding the pictures once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from livephoto_core.comfyui.demo_modules import build_autoencoder, initialise_weights
from livephoto_core.shapes.base_training.latents import encode_pictures
from tests.shapes.base_models import TINY_BASE, pixels


def test_latents_are_those_of_the_pictures(encoded, autoencoder):
    expected = autoencoder.encode(pixels(64)[7:9]) * 0.18215
    assert encoded.shape == (64, 4, 4, 4) and encoded.dtype == np.float16
    torch.testing.assert_close(
        torch.from_numpy(encoded[7:9].astype(np.float32)), expected, atol=2e-3, rtol=2e-3
    )


def test_latents_of_another_autoencoder_are_refused(encoded):
    other = build_autoencoder(TINY_BASE)
    initialise_weights(other, 7)
    folder = Path(encoded.filename).parent
    with pytest.raises(ValueError, match="another autoencoder"):
        encode_pictures(other, TINY_BASE, folder, num_pictures=64, seed=0, num_workers=0)


def test_part_of_a_part_is_refused(autoencoder, tmp_path):
    with pytest.raises(ValueError, match="num_pictures must be a multiple of 64, got 100"):
        encode_pictures(autoencoder, TINY_BASE, tmp_path, num_pictures=100, seed=0)
