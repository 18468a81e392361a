"""Training: losses fall, and a run that was interrupted ends as if it had not been."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch

from livephoto_core.shapes.base_training.autoencoder import AutoencoderTask
from livephoto_core.shapes.base_training.content_encoder import ContentEncoderTask
from livephoto_core.shapes.base_training.decoder import DecoderTask
from livephoto_core.shapes.base_training.loop import (
    LoopOptions,
    learning_rate_at,
    train,
)
from livephoto_core.shapes.base_training.run_folder import read_state
from tests.shapes.base_models import (
    OPTIONS,
    TINY_BASE,
    logged,
    text_to_image,
)


class Interrupted:
    """A task that is killed in the middle of a step."""

    def __init__(self, task, at_call):
        self._task, self._at_call, self._calls = task, at_call, 0

    def __getattr__(self, name):
        return getattr(self._task, name)

    def loss(self, *args):
        self._calls += 1
        if self._calls > self._at_call:
            raise KeyboardInterrupt
        return self._task.loss(*args)


TASKS = {
    "autoencoder": lambda encoded, autoencoder: AutoencoderTask(TINY_BASE, OPTIONS),
    "decoder": lambda encoded, autoencoder: DecoderTask(
        TINY_BASE, OPTIONS, autoencoder=autoencoder
    ),
    "content_encoder": lambda encoded, autoencoder: ContentEncoderTask(TINY_BASE, OPTIONS),
    "text_to_image": lambda encoded, autoencoder: text_to_image(OPTIONS, encoded, autoencoder),
}


@pytest.mark.parametrize("name", TASKS)
def test_resumed_run_equals_an_unbroken_one(name, encoded, autoencoder, tmp_path):
    make = TASKS[name]
    whole = train(make(encoded, autoencoder), OPTIONS, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(Interrupted(make(encoded, autoencoder), 4), OPTIONS, tmp_path / "parts")
    assert [line["step"] for line in logged(tmp_path / "parts")] == [1, 2, 3, 4]
    resumed = train(make(encoded, autoencoder), OPTIONS, tmp_path / "parts")
    for (key, one), other in zip(
        whole.module.state_dict().items(), resumed.module.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), key
    losses = [[line["loss"] for line in logged(tmp_path / run)] for run in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 6


@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_do_not_depend_on_worker_processes(num_workers, tmp_path):
    options = dataclasses.replace(OPTIONS, num_steps=2, num_workers=num_workers)
    train(AutoencoderTask(TINY_BASE, options), options, tmp_path)
    reference = dataclasses.replace(options, num_workers=0)
    expected = train(AutoencoderTask(TINY_BASE, reference), reference, tmp_path / "reference")
    assert logged(tmp_path)[-1]["loss"] == expected.figures["loss"]


def test_other_options_do_not_continue_a_run(tmp_path):
    options = dataclasses.replace(OPTIONS, num_steps=1)
    train(AutoencoderTask(TINY_BASE, options), options, tmp_path)
    changed = dataclasses.replace(options, num_steps=2, learning_rate=1e-5)
    with pytest.raises(ValueError, match="other learning_rate"):
        train(AutoencoderTask(TINY_BASE, changed), changed, tmp_path)


def test_other_options_of_the_task_do_not_continue_a_run(tmp_path):
    options = dataclasses.replace(OPTIONS, num_steps=1)
    train(AutoencoderTask(TINY_BASE, options), options, tmp_path, extra={"text_drop": 0.1})
    longer = dataclasses.replace(options, num_steps=2)
    with pytest.raises(ValueError, match="other text_drop"):
        train(AutoencoderTask(TINY_BASE, longer), longer, tmp_path, extra={"text_drop": 0.3})
    train(AutoencoderTask(TINY_BASE, longer), longer, tmp_path, extra={"text_drop": 0.1})


def test_thirty_steps_reduce_the_loss_of_the_autoencoder(tmp_path):
    options = dataclasses.replace(OPTIONS, num_steps=30, batch_size=4)
    train(AutoencoderTask(TINY_BASE, options), options, tmp_path)
    losses = [line["loss"] for line in logged(tmp_path)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_sixty_steps_reduce_the_loss_of_the_content_encoder(tmp_path):
    options = dataclasses.replace(OPTIONS, num_steps=60, batch_size=4)
    train(ContentEncoderTask(TINY_BASE, options), options, tmp_path)
    losses = [line["loss"] for line in logged(tmp_path)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_thirty_steps_reduce_the_loss_of_the_base_model(encoded, autoencoder, tmp_path):
    options = dataclasses.replace(OPTIONS, num_steps=30, batch_size=16)
    task = text_to_image(options, encoded, autoencoder)
    trained = train(task, options, tmp_path)
    lines = logged(tmp_path)
    losses = [line["loss"] for line in lines]
    # The UNet starts by predicting nothing: a loss of the noise's variance, of 1024 numbers.
    assert losses[0] == pytest.approx(1.0, abs=0.15)
    assert np.mean(losses[-5:]) < 0.75
    assert (tmp_path / "step-000030.png").is_file()
    assert lines[0]["text_sensitivity"] == lines[0]["motion_sensitivity"] == 0
    batch = task.make_batch(0)
    with torch.no_grad():
        measured = task.measure(trained.module, batch)
        one_motion = task.measure(trained.module, {**batch, "other": batch["said"]})
        alike = batch["said"][:1].expand_as(batch["said"])
        one_text = task.measure(trained.module, {**batch, "said": alike})
    assert min(measured.values()) > 1e-3
    assert one_motion == {**measured, "motion_sensitivity": 0}
    assert one_text["text_sensitivity"] == 0 < one_text["motion_sensitivity"]


def test_average_of_the_weights_follows_them(tmp_path):
    options = dataclasses.replace(OPTIONS, num_steps=3, ema_decay=0.0)
    trained = train(AutoencoderTask(TINY_BASE, options), options, tmp_path)
    last = read_state(tmp_path)["module"]
    for name, value in trained.module.state_dict().items():
        assert torch.equal(value, last[name]), name


def test_learning_rate_rises_stays_and_falls():
    options = LoopOptions(num_steps=100, learning_rate=1.0, warmup_steps=10)
    assert learning_rate_at(0, options) == pytest.approx(0.1)
    assert learning_rate_at(10, options) == learning_rate_at(79, options) == 1.0
    assert learning_rate_at(90, options) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"num_steps": 0}, "num_steps"),
        ({"precision": "fp8"}, "precision"),
        ({"ema_decay": 1.0}, "ema"),
    ],
)
def test_options_out_of_range_are_refused_by_name(changes, name):
    with pytest.raises(ValueError, match=name):
        LoopOptions(**changes)


def test_log_is_readable_while_training(tmp_path, caplog):
    options = dataclasses.replace(OPTIONS, num_steps=1)
    with caplog.at_level(logging.INFO):
        train(AutoencoderTask(TINY_BASE, options), options, tmp_path)
    assert "psnr_db" in caplog.text and "images_per_s" in caplog.text
