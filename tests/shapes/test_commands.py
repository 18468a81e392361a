"""The commands in their order: clips of the world, a training on them, the benchmark of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.environment import prepare
from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.comfyui.demo_animation import DemoAnimator
from livephoto_core.shapes.__main__ import main
from livephoto_core.shapes.benchmark import make_questions
from livephoto_core.shapes.evaluation import EvaluationOptions, animate
from livephoto_core.training.__main__ import main as train
from livephoto_core.training.presets import PRESETS
from tests.shapes.base_models import TINY_BASE, write_random_base

DEMO = Path(__file__).parents[2] / "workflows" / "api" / "demo.json"
COMFYUI = ["--comfyui", str(prepare().comfyui)]
SETTINGS = (
    "run.steps=2",
    "run.batch_size=2",
    "run.log_every=1",
    "run.save_every=1",
    "run.sensitivity_every=0",
    "run.sample_every=0",
    "optimiser.warmup_steps=0",
    "optimiser.cooldown_steps=0",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_random_base(tmp_path_factory.mktemp("base") / "base.safetensors")


@pytest.fixture(scope="module")
def clips(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    arguments = ["--base", str(base), "--output", str(folder), "--num-clips", "16"]
    arguments += ["--favour", "grow"]
    assert main(["clips", *arguments, "--num-workers", "0", *COMFYUI]) == 0
    return folder


@pytest.fixture(scope="module")
def checkpoint(base, clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    files = ["--base", str(base), "--data", str(clips), "--output", str(folder)]
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    assert train(["train", "--preset", "shapes", *files, *settings, *COMFYUI]) == 0
    return folder / "checkpoints" / "step-00000002.safetensors"


def test_gpu_that_is_not_there_is_refused_before_anything_is_written(
    base, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arguments = ["--base", str(base), "--output", str(tmp_path / "clips"), "--num-clips", "16"]
    assert main(["clips", *arguments, "--device", "cuda", *COMFYUI]) == 2
    assert "--device cuda: PyTorch sees no GPU here" in capsys.readouterr().err
    assert not (tmp_path / "clips").exists()


def test_checkpoint_fits_the_base_and_has_all_parts(checkpoint):
    config = read_checkpoint(checkpoint).config
    assert config.layout.block_channels == (32, 64)
    assert config.noise_schedule == "linear" and config.training_size_px == (32, 32)
    assert config.motion and config.input_conditioning and config.text_reweighting
    assert config.content and config.content.encoder == "dinov2-64x1"


def test_evaluation_answers_every_question(base, checkpoint, tmp_path, capsys):
    output = tmp_path / "new folder" / "answers.json"
    arguments = ["--base", str(base), "--livephoto", str(checkpoint), "--output", str(output)]
    counts = ["--motion", "2", "--without-text", "1", "--level", "1", "--steps", "2"]
    counts += ["--motion-only", "1", "--prior", "0.03", "0.02", "--bf16", "--sampler", "euler"]
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
    assert written["options"] == {
        "counts": {"motion": 2, "conflicting": 0, "motion_only": 1, "without_text": 1, "level": 1},
        "num_steps": 2,
        "cfg": EvaluationOptions.cfg,
        "sampler": "euler",
        "prior": [0.03, 0.02],
        "seed": 0,
        "bf16": True,
    }
    assert written["sha256"] == sha256(checkpoint)


@pytest.mark.parametrize("sampler", ["euler_ancestral", "lcm", "ddpm", "dpmpp_2m_sde"])
def test_prior_with_a_sampler_that_may_replace_it_is_refused(sampler, capsys):
    assert main(["evaluate", "--prior", "0.03", "0.02", "--sampler", sampler, *COMFYUI]) == 2
    assert f"--prior: {sampler} may draw new noise" in capsys.readouterr().err


def test_demo_and_samples_are_made_as_the_evaluation_measures():
    sampler = json.loads(DEMO.read_text())["7"]["inputs"]
    assert sampler["cfg"] == EvaluationOptions.cfg == PRESETS["shapes"].config.run.sample_cfg
    assert sampler["sampler_name"] == EvaluationOptions.sampler
    assert sampler["steps"] == EvaluationOptions.num_steps


def test_unknown_sampler_is_refused_with_the_known_ones(base, checkpoint, capsys):
    arguments = ["--base", str(base), "--livephoto", str(checkpoint), "--sampler", "eular"]
    counts = [
        f"--{kind}={count}" for kind, count in {"motion": 1, "without-text": 0, "level": 0}.items()
    ]
    assert main(["evaluate", *arguments, *counts, "--processes", "1", *COMFYUI]) == 2
    error = capsys.readouterr().err
    assert "sampler_name must be one of euler, " in error and "got 'eular'" in error


def test_evaluation_in_bf16_shows_nearly_the_same(base, checkpoint):
    edges = read_checkpoint(checkpoint).config.ssim_edges
    [question] = make_questions("motion", 1, edges=edges, size_px=32)
    exact = EvaluationOptions(base=base, livephoto=checkpoint, counts={}, num_steps=2)
    animator = DemoAnimator(base, checkpoint)
    frames, rounded = (
        animate(animator, question, options, size_px=32)
        for options in (exact, replace(exact, bf16=True))
    )
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - frames).abs().mean() < 0.02


def test_export_is_half_as_large_and_says_how_it_was_made(checkpoint, tmp_path):
    output = tmp_path / "shipped" / "out.safetensors"
    assert export(checkpoint, evaluation_of(checkpoint, tmp_path), output) == 0
    shipped, original = read_checkpoint(output), read_checkpoint(checkpoint)
    assert shipped.config == original.config
    for name, tensor in shipped.state_dict.items():
        assert torch.equal(tensor, original.state_dict[name].half()), name
    record = json.loads(shipped.metadata["training"])
    assert (record["num_steps"], record["num_clips"]) == (2, 4) and record["seconds"] >= 0
    assert record["num_processes"] == 1
    assert record["data"] == {"seed": 1, "num_clips": 16, "favoured": ["grow"]}
    assert "--set noise.timestep_power=1.5" in record["command"]
    assert str(tmp_path.parent) not in json.dumps(shipped.metadata)
    assert json.loads(shipped.metadata["figures"]) == {"identity": 0.5}
    assert json.loads(shipped.metadata["evaluation"]) == {"num_steps": 20, "seed": 3}


def test_export_of_an_earlier_checkpoint_counts_up_to_its_step(checkpoint, tmp_path):
    earlier, output = checkpoint.with_name("step-00000001.safetensors"), tmp_path / "o.safetensors"
    assert export(earlier, evaluation_of(earlier, tmp_path), output) == 0
    record = json.loads(read_checkpoint(output).metadata["training"])
    assert (record["num_steps"], record["num_clips"]) == (1, 2)


def test_export_tells_what_a_training_continued(base, clips, checkpoint, tmp_path):
    first, folder = tmp_path / "first.safetensors", tmp_path / "second"
    assert export(checkpoint, evaluation_of(checkpoint, tmp_path), first) == 0
    files = ["--base", str(base), "--data", str(clips), "--output", str(folder)]
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    arguments = [*files, "--init-from", str(first), *settings, "--set", "run.seed=7", *COMFYUI]
    assert train(["train", "--preset", "shapes", *arguments]) == 0
    second = folder / "checkpoints" / checkpoint.name
    assert export(second, evaluation_of(second, tmp_path), first) == 0
    record = json.loads(read_checkpoint(first).metadata["training"])
    assert record["seed"] == 7 and record["continues"]["seed"] == 0
    assert "continues" not in record["continues"]


def test_export_with_the_evaluation_of_another_checkpoint_is_refused(checkpoint, tmp_path, capsys):
    earlier, output = checkpoint.with_name("step-00000001.safetensors"), tmp_path / "o.safetensors"
    assert export(checkpoint, evaluation_of(earlier, tmp_path), output) == 2
    message = capsys.readouterr().err
    assert "--evaluation: " in message and f"another file than --checkpoint {checkpoint}" in message
    assert not output.exists()


@pytest.mark.parametrize("content", ['{"figures": {}, "answers": []}', "[]", "not JSON"])
def test_export_with_another_file_as_its_evaluation_is_refused(
    content, checkpoint, tmp_path, capsys
):
    evaluation = tmp_path / "answers.json"
    evaluation.write_text(content)
    assert export(checkpoint, evaluation, tmp_path / "o.safetensors") == 2
    assert f"--evaluation: {evaluation}" in capsys.readouterr().err


def test_export_of_a_file_that_names_no_step_is_refused(checkpoint, tmp_path, capsys):
    shipped = tmp_path / "shipped.safetensors"
    assert export(checkpoint, evaluation_of(checkpoint, tmp_path), shipped) == 0
    evaluation, training = evaluation_of(shipped, tmp_path), checkpoint.parents[1]
    output = tmp_path / "o.safetensors"
    assert export(shipped, evaluation, output, training=training) == 2
    assert f"--checkpoint: {shipped} does not say" in capsys.readouterr().err


def test_export_without_a_training_is_refused(checkpoint, tmp_path, capsys):
    evaluation, output = evaluation_of(checkpoint, tmp_path), tmp_path / "o.safetensors"
    assert export(checkpoint, evaluation, output, training=tmp_path) == 2
    assert f"--training: {tmp_path / 'options.txt'} is not there" in capsys.readouterr().err


def evaluation_of(checkpoint, folder):
    path = folder / "evaluation.json"
    content = {
        "options": {"num_steps": 20, "seed": 3},
        "sha256": sha256(checkpoint),
        "figures": {"identity": 0.5},
        "answers": [],
    }
    path.write_text(json.dumps(content))
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def export(checkpoint, evaluation, output, *, training=None):
    files = ["--training", str(training or checkpoint.parents[1]), "--checkpoint", str(checkpoint)]
    return main(["export", *files, "--evaluation", str(evaluation), "--output", str(output)])


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


def test_checkpoint_of_another_base_and_no_comfyui_are_refused_before_any_process(
    base, tmp_path, capsys
):
    assert main(["evaluate", "--comfyui", str(tmp_path)]) == 2
    assert "main.py" in capsys.readouterr().err
    assert main(["evaluate", "--base", str(base), *COMFYUI]) == 2
    assert "was trained on a UNet whose block_channels is" in capsys.readouterr().err


def test_missing_base_is_refused(tmp_path, capsys):
    nowhere = str(tmp_path / "no.safetensors")
    assert main(["clips", "--base", nowhere, "--output", str(tmp_path), *COMFYUI]) == 2
    assert "no.safetensors" in capsys.readouterr().err
