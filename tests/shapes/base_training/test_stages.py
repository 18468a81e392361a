"""The steps and their command line."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

import pytest
import torch

from livephoto_core.comfyui.demo_modules import predict_noise
from livephoto_core.shapes.base_model import open_base_model
from livephoto_core.shapes.base_training import stages
from livephoto_core.shapes.base_training.__main__ import main
from livephoto_core.shapes.base_training.autoencoder import AutoencoderTask
from livephoto_core.shapes.base_training.run_folder import read_state
from livephoto_core.shapes.base_training.text_to_image import TextToImageTask
from tests.shapes.base_models import OPTIONS, TINY_BASE, write_random_base


def test_command_line_names_the_step_that_is_missing(tmp_path, capsys):
    assert main(["export", "--run", str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    assert "autoencoder` to its end first" in capsys.readouterr().err


def test_command_line_says_where_comfyui_is_not(tmp_path, capsys):
    arguments = ["autoencoder", "--run", str(tmp_path), "--comfyui", str(tmp_path)]
    assert main(arguments) == 2
    assert "main.py" in capsys.readouterr().err


def test_recorded_command_repeats_the_options():
    command = stages.command_line("text_to_image", OPTIONS, {"text_drop": 0.2})
    assert "text-to-image --num-steps=6 --batch-size=2" in command
    assert command.endswith("--text-drop=0.2")


def test_step_that_was_interrupted_is_not_taken_for_a_finished_one(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    options = dataclasses.replace(OPTIONS, num_steps=2, save_steps=1, show_steps=2)
    with monkeypatch.context() as patched:
        patched.setattr(AutoencoderTask, "show", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stages.train_autoencoder(TINY_BASE, options, tmp_path)
    assert read_state(tmp_path / "autoencoder")["step"] == 1
    with pytest.raises(ValueError, match="no finished autoencoder yet"):
        stages.train_decoder(TINY_BASE, options, tmp_path)
    stages.train_autoencoder(TINY_BASE, options, tmp_path)
    stages.train_decoder(TINY_BASE, options, tmp_path)


RECORDS = {stage: {"command": stage} for stage in stages.PRESETS}


@pytest.fixture
def recorded(start):
    """The same, telling how its steps were trained."""
    return dataclasses.replace(start, metadata={"training": json.dumps(RECORDS)})


def test_run_that_starts_from_a_file_exports_the_rest_of_it(recorded, tmp_path):
    run, exported, start = tmp_path / "run", tmp_path / "new.safetensors", recorded
    options = dataclasses.replace(OPTIONS, num_steps=2)
    stages.train_content_encoder(TINY_BASE, options, run, start=start)
    stages.export(TINY_BASE, run, exported, start=start)
    new = open_base_model(exported)
    for part in ("unet", "autoencoder", "text_encoder"):
        before, after = start.part(part), new.part(part)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    before, after = start.part("content_encoder"), new.part("content_encoder")
    changes = [(before[name].float() - after[name].float()).abs().max() for name in before]
    assert 0 < max(changes) < 0.02  # two steps of 2e-3 each
    training = json.loads(new.metadata["training"])
    assert training["content_encoder"]["continues"] == RECORDS["content_encoder"]
    assert {**training, "content_encoder": None} == {**RECORDS, "content_encoder": None}


def test_finer_attention_than_the_start_has_changes_nothing_at_first(
    encoded, autoencoder, tmp_path
):
    coarse, both = (
        dataclasses.replace(
            TINY_BASE, unet=dataclasses.replace(TINY_BASE.unet, attention_levels=levels)
        )
        for levels in ((1,), (0, 1))
    )
    start = open_base_model(write_random_base(tmp_path / "start.safetensors", coarse))
    tasks = [
        TextToImageTask(given, OPTIONS, latents=encoded, autoencoder=autoencoder, start=start)
        for given in (coarse, both)
    ]
    for task in tasks:  # a new UNet's last layer is zero
        torch.nn.init.ones_(task.module["unet"].out[-1].weight)
    latents = torch.randn(2, *TINY_BASE.latent_shape, generator=torch.Generator().manual_seed(0))
    rows = tasks[0].token_rows(["a red circle", "a blue star moves left"])
    narrow, wide = (
        predict_noise(
            task.module["unet"], latents, torch.tensor([3, 900]), task.module["text_encoder"](rows)
        )
        for task in tasks
    )
    torch.testing.assert_close(wide, narrow, rtol=0, atol=1e-6)
    assert narrow.std() > 0
    assert len(tasks[1].module.state_dict()) > len(tasks[0].module.state_dict())


def test_new_autoencoder_asks_for_the_parts_that_know_only_the_old_ones_latents(recorded, tmp_path):
    run, exported, start = tmp_path / "run", tmp_path / "new.safetensors", recorded
    options = dataclasses.replace(OPTIONS, num_steps=1)
    stages.train_autoencoder(TINY_BASE, options, run, start=start)
    for missing, train in (
        ("decoder", stages.train_decoder),
        ("text_to_image", partial(stages.train_text_to_image, num_pictures=64)),
    ):
        with pytest.raises(ValueError, match=f"no finished {missing} yet"):
            stages.export(TINY_BASE, run, exported, start=start)
        train(TINY_BASE, options, run, start=start)
    stages.export(TINY_BASE, run, exported, start=start)
    new = open_base_model(exported)
    for part in ("autoencoder", "unet"):
        given = start.part(part)
        assert any(not torch.equal(weight, given[name]) for name, weight in new.part(part).items())
    training = json.loads(new.metadata["training"])
    assert training["autoencoder"]["continues"] == RECORDS["autoencoder"]
