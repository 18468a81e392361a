"""The shipped weights do what the model card says, on a part of its benchmark."""

from __future__ import annotations

import json

import pytest

from harness.environment import prepare
from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.shapes.base_model import BASE_MODEL_PATH, PARTS, open_base_model
from livephoto_core.shapes.benchmark import score
from livephoto_core.shapes.evaluation import EvaluationOptions, evaluate
from livephoto_core.shapes.shipped import LIVEPHOTO_PATH

MAX_BYTES = 40e6


def test_weights_are_small_and_say_how_they_were_made():
    assert BASE_MODEL_PATH.stat().st_size + LIVEPHOTO_PATH.stat().st_size < MAX_BYTES
    base = json.loads(open_base_model(BASE_MODEL_PATH).metadata["training"])
    steps = {"autoencoder", "decoder", "content_encoder", "text_to_image"}
    assert base.keys() == steps
    for record in (
        *base.values(),
        json.loads(read_checkpoint(LIVEPHOTO_PATH).metadata["training"]),
    ):
        assert record["command"].startswith("python -m livephoto_core.")
        assert record["seconds"] > 0 and "seed" in record
    assert set(PARTS) == {
        name.split(".")[0] for name in open_base_model(BASE_MODEL_PATH).file.tensors
    }


@pytest.fixture(scope="module")
def figures():
    counts = {"motion": 16, "level": 16}
    options = EvaluationOptions(
        base=BASE_MODEL_PATH,
        livephoto=LIVEPHOTO_PATH,
        counts=counts,
        comfyui=prepare().comfyui,
    )
    return score(evaluate(options))


@pytest.mark.slow
def test_motion_follows_the_sentence(figures):
    # Chance is one in sixteen.
    assert figures["motion_accuracy"] >= 0.4


@pytest.mark.slow
def test_first_frame_is_the_picture(figures):
    assert figures["first_frame_psnr_db"] > 26


@pytest.mark.slow
def test_measured_level_follows_the_requested_one(figures):
    assert figures["level_correlation"] > 0.3
