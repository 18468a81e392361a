"""A whole study with a random base model, small enough for a test."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.comfyui.demo_model import load_demo_model
from livephoto_core.evaluation.claims import pictures, report, sweeps
from livephoto_core.evaluation.claims import study as study_module
from livephoto_core.evaluation.claims.report import write_report
from livephoto_core.evaluation.claims.study import (
    COUNTS,
    Study,
    answers_path,
    run,
    trained_path,
    training_folder,
)
from livephoto_core.evaluation.claims.variants import (
    FULL,
    OURS,
    ROWS,
    START,
    TABLE_1,
    WITHOUT_REWEIGHTING,
)
from livephoto_core.models.config import InputConditioningConfig
from livephoto_core.motion_intensity import DEFAULT_EDGES
from livephoto_core.shapes.benchmark import make_questions
from livephoto_core.shapes.clips import FACTS_FILE
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.training.config import list_options, read_options, set_options
from livephoto_core.training.presets import find_preset
from tests.evaluation.claims.study_files import write_study_files

FAILED = subprocess.CompletedProcess([], returncode=1)

TRIED = (TABLE_1[0], FULL, WITHOUT_REWEIGHTING, OURS[0])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return Study(
        output=folder / "study",
        start_steps=1,
        num_steps=2,
        clips_per_step=2,
        seeds=(5,),
        variants=TRIED,
        num_processes=1,
        counts={"motion": 1, "conflicting": 1, "motion_only": 1, "without_text": 1, "level": 2},
        sampling_steps=1,
        **write_study_files(folder),
    )


@pytest.fixture(scope="module")
def finished(study):
    run(study)
    return study


def folder_of(study, variant):
    return training_folder(study.output, variant.training, 5)


@pytest.mark.slow
def test_variants_differ_by_the_option_they_are_named_for(finished):
    options = {
        variant: set(list_options(read_options(folder_of(finished, variant)))) for variant in TRIED
    }
    for variant in TRIED:
        changed = {
            line for line in options[variant] - options[FULL] if not line.startswith("files.output")
        }
        assert changed == {*variant.training.settings}
    assert "run.seed=5" in options[FULL] and "parts.text_adapters=false" in options[FULL]


@pytest.mark.slow
def test_weights_have_the_parts_of_their_variant(finished):
    configs = {
        variant.name: read_checkpoint(trained_path(finished, variant.training, 5)).config
        for variant in TRIED
    }
    assert configs["reference latent"].content is None
    assert configs["without re-weighting"].text_reweighting is None
    assert all(config.motion is not None for config in configs.values())
    assert [name for name, config in configs.items() if config.text_adapters] == [
        "full, text adapters"
    ]


@pytest.mark.slow
def test_all_trainings_start_from_a_training_without_the_parts_in_question(finished):
    start = read_checkpoint(
        finished.output / "start-seed0" / "checkpoints/step-00000001.safetensors"
    )
    assert start.config.input_conditioning == InputConditioningConfig(("frame",))
    assert {name.split(".")[0] for name in start.state_dict} == {"motion", "input_conditioning"}
    options = list_options(read_options(finished.output / "start-seed0"))
    assert {"run.steps=1", "run.seed=0", "files.init_from=none"} <= {*options}
    count = sum(name.startswith("motion.") for name in start.state_dict)
    for variant in TRIED:
        log = (folder_of(finished, variant) / "training.log").read_text()
        assert f"motion: {count} of {count} weights from files.init_from." in log


def test_without_start_steps_trainings_start_from_nothing(tmp_path):
    study = Study(data=tmp_path, output=tmp_path, start_steps=0)
    arguments = [*study_module._arguments(study, FULL.training, tmp_path, 0)]
    assert "--init-from" not in arguments
    arguments = [
        *study_module._arguments(replace(study, start_steps=1), FULL.training, tmp_path, 0)
    ]
    assert "--init-from" in arguments


def test_every_training_changes_an_option_that_exists():
    preset = find_preset("shapes").config
    for training in (START, *(variant.training for variant in ROWS["all"])):
        changed = set_options(preset, ("parts.text_adapters=false", *training.settings))
        changed.check()
        assert {*list_options(changed)} >= {*training.settings}


@pytest.mark.slow
def test_finished_study_is_not_made_again(finished, monkeypatch):
    before = answers_path(finished.output, TABLE_1[0], 5).stat().st_mtime_ns
    monkeypatch.setattr(study_module.subprocess, "run", None)
    monkeypatch.setattr(study_module, "evaluate", None)
    run(finished)
    assert answers_path(finished.output, TABLE_1[0], 5).stat().st_mtime_ns == before


def true_similarity(base):
    """Of the first motion question's clip, as the autoencoder brings it back."""
    _, _, vae, encoder = load_demo_model(base)
    [question] = make_questions("motion", 1, edges=DEFAULT_EDGES, size_px=32)
    decoded = vae.decode(vae.encode(render_clip(question.scene, size_px=32))).clamp(0, 1)
    tokens = encoder.encode((decoded * 255).round() / 255).mean(dim=1)
    return F.cosine_similarity(tokens[1:], tokens[:-1]).mean().item()


@pytest.mark.slow
def test_report_has_all_tables_plots_and_pictures(finished, monkeypatch):
    monkeypatch.setattr(sweeps, "PRIOR_FACTORS", (0.0,))
    monkeypatch.setattr(report, "TRUE_COUNTS", {"motion": 1})
    monkeypatch.setattr(report, "PRIOR_COUNTS", {"motion": 1, "level": 2})
    monkeypatch.setattr(report, "NUM_LEVEL_PROMPTS", 1)
    monkeypatch.setattr(pictures, "NUM_CONFLICTS", 1)
    write_report(finished)
    folder = finished.output
    tables = (folder / "tables.md").read_text()
    assert all(f"| {variant.name} |" in tables for variant in TRIED)
    assert "| full, seed 5 |" in tables and "| given.safetensors |" in tables
    [truth] = re.findall(
        r"^True clips of 1 motion .* adjacent frames (\S+) %", tables, re.MULTILINE
    )
    assert float(truth) == pytest.approx(100 * true_similarity(finished.base), abs=0.006)
    frames = ("levels-frames-full-seed5", "levels-frames-checkpoint", "conflicts-frames")
    for name in ("variants", "prior", "levels", "words", *frames):
        assert Image.open(folder / f"{name}.png").size[0] > 100
    for name in ("full-seed5", "checkpoint"):
        assert [*json.loads((folder / f"prior-{name}.json").read_text())] == ["0"]
        levels = json.loads((folder / f"levels-{name}.json").read_text())
        assert [answer["asked_level"] for answer in levels] == list(range(1, 11))
    words = json.loads((folder / "words.json").read_text())
    assert [*words] == ["full, seed 5", "given.safetensors"]
    assert all(len(word["per_frame"]) == 16 for word in words["full, seed 5"])


@pytest.mark.slow
def test_failed_training_says_where_its_words_are(study, tmp_path):
    (tmp_path / "none").mkdir()
    shutil.copy(study.data / FACTS_FILE, tmp_path / "none")
    nowhere = replace(study, data=tmp_path / "none", output=tmp_path / "out")
    with pytest.raises(RuntimeError, match=r"start, seed 0, failed: .*log"):
        run(nowhere)
    log = tmp_path / "out" / "start-seed0" / "training.log"
    assert "latents.npy" in log.read_text()


def test_uneven_shares_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--clips-per-step must be a multiple of --processes"):
        run(Study(data=tmp_path, output=tmp_path / "out", clips_per_step=3, num_processes=2))


@pytest.mark.parametrize(
    ("device", "num_processes", "batch_size", "gpus"), [("cpu", 2, 8, ""), ("cuda", 1, 16, "3")]
)
def test_gpu_trains_in_one_process_with_all_clips_of_a_step(
    tmp_path, monkeypatch, device, num_processes, batch_size, gpus
):
    started = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(
        subprocess, "run", lambda command, **how: started.append((command, how["env"])) or FAILED
    )
    for name in (FACTS_FILE, "base", "checkpoint"):
        (tmp_path / name).write_text(name)
    files = {"base": tmp_path / "base", "checkpoint": tmp_path / "checkpoint"}
    with pytest.raises(RuntimeError, match="start, seed 0, failed"):
        run(Study(data=tmp_path, output=tmp_path / "out", device=device, **files))
    [(command, environment)] = started
    assert ("torch.distributed.run" in command) == (num_processes > 1)
    assert f"run.batch_size={batch_size}" in command
    assert environment["CUDA_VISIBLE_DEVICES"] == gpus


def test_training_on_a_gpu_that_is_not_there_is_refused(begun, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fresh = replace(begun, device="cuda", start_steps=1, output=tmp_path / "new")
    with pytest.raises(ValueError, match="--device cuda: PyTorch sees no GPU"):
        run(fresh)


@pytest.fixture
def begun(tmp_path):
    """A study that has only been begun."""
    for name in (FACTS_FILE, "base", "checkpoint", "other"):
        (tmp_path / name).write_text(name)
    study = Study(
        data=tmp_path,
        output=tmp_path / "out",
        start_steps=0,
        variants=(),
        base=tmp_path / "base",
        checkpoint=tmp_path / "checkpoint",
    )
    run(study)
    return study


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("--steps is 901, but .* was begun with 900", {"num_steps": 901}),
        ("--start-steps is 1, but .* with 0", {"start_steps": 1}),
        ("--clips-per-step is 32, but .* with 16", {"clips_per_step": 32}),
        ("--processes is 1, but .* with 2", {"num_processes": 1}),
        ("--device is cuda, but .* with cpu", {"device": "cuda"}),
        ("--sampling-steps is 9, but .* with 16", {"sampling_steps": 9}),
        ("--motion-only is 1, but .* with 48", {"counts": {**COUNTS, "motion_only": 1}}),
    ],
)
def test_study_of_other_options_is_refused(begun, option, changes):
    with pytest.raises(ValueError, match=option):
        run(replace(begun, **changes))


@pytest.mark.parametrize("name", ["base", "checkpoint"])
def test_study_of_other_files_is_refused(begun, tmp_path, name):
    run(replace(begun, **{name: shutil.copy(tmp_path / name, tmp_path / "moved")}))
    with pytest.raises(ValueError, match=rf"--{name} \(its sha256\) is .*, but .* begun with"):
        run(replace(begun, **{name: tmp_path / "other"}))


def test_study_of_other_clips_is_refused(begun, tmp_path):
    (tmp_path / FACTS_FILE).write_text("others")
    with pytest.raises(ValueError, match=r"--data \(its sha256\) is .*, but .* begun with"):
        run(begun)


def test_seeds_and_variants_may_be_added(begun, monkeypatch):
    asked = []

    def train(study, training, seed):
        asked.append(seed)
        checkpoint = trained_path(study, training, seed)
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()

    monkeypatch.setattr(study_module, "_train", train)
    monkeypatch.setattr(study_module, "evaluate", lambda options: [])
    run(replace(begun, variants=(FULL,), seeds=(0, 7)))
    assert asked == [0, 7]
