"""The commands in their order: clips of the world, a training on them, the benchmark of it."""

from __future__ import annotations

import json

import pytest
import torch

from harness.environment import prepare
from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.shapes.__main__ import main
from livephoto_core.shapes.benchmark import make_questions
from livephoto_core.training.__main__ import main as train
from tests.shapes.base_models import TINY_BASE, write_random_base

COMFYUI = ["--comfyui", str(prepare().comfyui)]
SETTINGS = (
    "run.steps=2",
    "run.batch_size=2",
    "run.log_every=1",
    "run.save_every=2",
    "run.sensitivity_every=0",
    "run.sample_every=0",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_random_base(tmp_path_factory.mktemp("base") / "base.safetensors")


@pytest.fixture(scope="module")
def clips(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    arguments = ["--base", str(base), "--output", str(folder), "--num-clips", "16"]
    assert main(["clips", *arguments, "--num-workers", "0", *COMFYUI]) == 0
    return folder


@pytest.fixture(scope="module")
def checkpoint(base, clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    files = ["--base", str(base), "--data", str(clips), "--output", str(folder)]
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    assert train(["train", "--preset", "shapes", *files, *settings, *COMFYUI]) == 0
    return folder / "checkpoints" / "step-00000002.safetensors"


def test_checkpoint_fits_the_base_and_has_all_parts(checkpoint):
    config = read_checkpoint(checkpoint).config
    assert config.layout.block_channels == (32, 64)
    assert config.noise_schedule == "linear" and config.training_size_px == (32, 32)
    assert config.motion and config.input_conditioning and config.text_reweighting
    assert config.content and config.content.encoder == "dinov2-64x1"


def test_evaluation_answers_every_question(base, checkpoint, tmp_path, capsys):
    output = tmp_path / "answers.json"
    arguments = ["--base", str(base), "--livephoto", str(checkpoint), "--output", str(output)]
    counts = ["--motion", "2", "--without-text", "1", "--level", "1", "--steps", "2"]
    counts += ["--motion-only", "1", "--prior", "0.03", "0.02"]
    assert main(["evaluate", *arguments, *counts, "--processes", "2", *COMFYUI]) == 0
    written = json.loads(output.read_text())
    edges = read_checkpoint(checkpoint).config.ssim_edges
    questions = make_questions("motion", 2, edges=edges, size_px=32)
    asked = [(answer["kind"], answer["asked_motion"]) for answer in written["answers"]]
    assert asked[:2] == [("motion", question.scene.motion) for question in questions]
    assert [kind for kind, _ in asked] == [
        "motion",
        "motion",
        "motion_only",
        "without_text",
        "level",
    ]
    # Random weights: the picture that comes out is not the one that went in.
    assert written["figures"]["first_frame_psnr_db"] < 25
    assert "motion_accuracy: " in capsys.readouterr().out


def test_export_is_half_as_large_and_says_how_it_was_made(checkpoint, tmp_path):
    evaluation, output = tmp_path / "answers.json", tmp_path / "shipped" / "out.safetensors"
    evaluation.write_text(json.dumps({"figures": {"identity": 0.5}, "answers": []}))
    export(checkpoint, evaluation, output)
    shipped, original = read_checkpoint(output), read_checkpoint(checkpoint)
    assert shipped.config == original.config
    for name, tensor in shipped.state_dict.items():
        assert torch.equal(tensor, original.state_dict[name].half()), name
    record = json.loads(shipped.metadata["training"])
    assert (record["num_steps"], record["num_clips"]) == (2, 4) and record["seconds"] >= 0
    assert "--set noise.timestep_power=1.5" in record["command"]
    assert str(tmp_path.parent) not in json.dumps(shipped.metadata)
    assert json.loads(shipped.metadata["figures"]) == {"identity": 0.5}


def test_export_tells_what_a_training_continued(base, clips, checkpoint, tmp_path):
    evaluation, first = tmp_path / "answers.json", tmp_path / "first.safetensors"
    evaluation.write_text(json.dumps({"figures": {}, "answers": []}))
    export(checkpoint, evaluation, first)
    folder = tmp_path / "second"
    files = ["--base", str(base), "--data", str(clips), "--output", str(folder)]
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    arguments = [*files, "--init-from", str(first), *settings, "--set", "run.seed=7", *COMFYUI]
    assert train(["train", "--preset", "shapes", *arguments]) == 0
    export(folder / "checkpoints" / checkpoint.name, evaluation, first)
    record = json.loads(read_checkpoint(first).metadata["training"])
    assert record["seed"] == 7 and record["continues"]["seed"] == 0
    assert "continues" not in record["continues"]


def export(checkpoint, evaluation, output):
    files = ["--training", str(checkpoint.parents[1]), "--checkpoint", str(checkpoint)]
    assert main(["export", *files, "--evaluation", str(evaluation), "--output", str(output)]) == 0


def test_export_without_an_evaluation_is_refused(checkpoint, tmp_path, capsys):
    files = ["--training", str(checkpoint.parents[1]), "--checkpoint", str(checkpoint)]
    missing = str(tmp_path / "none.json")
    assert main(["export", *files, "--evaluation", missing, "--output", str(tmp_path / "o")]) == 2
    assert "--evaluation: " in capsys.readouterr().err


def test_checkpoint_without_edges_is_refused(base, tmp_path, capsys):
    from livephoto_core.checkpoints import write_checkpoint
    from livephoto_core.models.config import LivePhotoConfig, TextReweightingConfig
    from livephoto_core.models.livephoto import LivePhoto

    weights = TextReweightingConfig(num_heads=4)
    config = LivePhotoConfig(layout=TINY_BASE.unet, text_reweighting=weights)
    path = tmp_path / "other.safetensors"
    write_checkpoint(path, config, LivePhoto(config).state_dict())
    assert main(["evaluate", "--base", str(base), "--livephoto", str(path), *COMFYUI]) == 2
    assert "other.safetensors stores no edges" in capsys.readouterr().err


def test_missing_base_is_refused(tmp_path, capsys):
    nowhere = str(tmp_path / "no.safetensors")
    assert main(["clips", "--base", nowhere, "--output", str(tmp_path), *COMFYUI]) == 2
    assert "no.safetensors" in capsys.readouterr().err
