"""A whole study with a random base model, small enough for a test."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from harness.environment import prepare
from livephoto_core.checkpoints import read_checkpoint, write_checkpoint
from livephoto_core.evaluation.claims import study as study_module
from livephoto_core.evaluation.claims.command import write_report
from livephoto_core.evaluation.claims.study import Study, answers_path, run, training_folder
from livephoto_core.evaluation.claims.variants import FULL, OURS, TABLE_1, VARIANTS
from livephoto_core.models.config import LivePhotoConfig, MotionConfig
from livephoto_core.shapes.__main__ import main as shapes
from livephoto_core.shapes.base_model import NOISE_SCHEDULE
from livephoto_core.shapes.evaluation import EvaluationOptions
from livephoto_core.training.config import list_options, read_options, set_options
from livephoto_core.training.presets import find_preset
from livephoto_core.training.state import checkpoint_path
from tests.checkpoints.weight_files import random_weights
from tests.shapes.base_models import TINY_BASE, write_random_base

TRIED = (TABLE_1[0], TABLE_1[-1], *OURS)
COUNTS = {"motion": 1, "conflicting": 1, "motion_only": 1, "without_text": 1, "level": 2}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder, comfyui = tmp_path_factory.mktemp("study"), prepare().comfyui
    base = write_random_base(folder / "base.safetensors")
    files = ["--base", str(base), "--output", str(folder / "clips")]
    made = ["--num-clips", "16", "--num-workers", "0", "--comfyui", str(comfyui)]
    assert shapes(["clips", *files, *made]) == 0
    config = LivePhotoConfig(
        layout=TINY_BASE.unet,
        motion=MotionConfig(),
        text_adapters=True,
        noise_schedule=NOISE_SCHEDULE,
    )
    write_checkpoint(folder / "whole.safetensors", config, random_weights(config))
    return Study(
        data=folder / "clips",
        output=folder / "study",
        motion=folder / "whole.safetensors",
        num_steps=2,
        clips_per_step=2,
        seeds=(5,),
        variants=TRIED,
        num_processes=1,
        counts=COUNTS,
        sampling_steps=1,
        base=base,
        comfyui=comfyui,
    )


@pytest.fixture(scope="module")
def finished(study):
    run(study)
    return study


@pytest.mark.slow
def test_variants_differ_by_the_option_they_are_named_for(finished):
    options = {
        variant: set(list_options(read_options(folder_of(finished, variant)))) for variant in TRIED
    }
    full = options[TABLE_1[-1]]
    for variant in TRIED:
        changed = {line for line in options[variant] - full if not line.startswith("files.")}
        assert changed == {*variant.training.settings}
    assert "run.seed=5" in full and "parts.text_adapters=false" in full


@pytest.mark.slow
def test_weights_have_the_parts_of_their_variant(finished):
    configs = {
        variant.name: read_checkpoint(
            checkpoint_path(folder_of(finished, variant), finished.num_steps)
        ).config
        for variant in TRIED
    }
    assert configs["reference latent"].content is None
    assert all(config.motion is not None for config in configs.values())
    assert [name for name, config in configs.items() if config.text_adapters] == [
        "full, text adapters"
    ]


@pytest.mark.slow
def test_all_trainings_start_from_the_same_motion_modules_alone(finished):
    given = read_checkpoint(finished.motion).state_dict
    start = read_checkpoint(finished.output / "motion.safetensors").state_dict
    assert {name.split(".")[0] for name in given} == {"motion", "text_adapters"}
    assert {name.split(".")[0] for name in start} == {"motion"}
    assert all(torch.equal(tensor, given[name]) for name, tensor in start.items())
    for variant in TRIED:
        log = (folder_of(finished, variant) / "training.log").read_text()
        count = len(start)
        assert f"motion: {count} of {count} weights from files.init_from." in log


def test_every_training_changes_an_option_that_exists():
    preset = find_preset("shapes").config
    for variant in VARIANTS:
        changed = set_options(preset, ("parts.text_adapters=false", *variant.training.settings))
        changed.check()
        lines = {*list_options(changed)}
        assert lines >= {*variant.training.settings}


@pytest.mark.slow
def test_finished_study_is_not_made_again(finished, monkeypatch):
    before = answers_path(finished.output, TABLE_1[0], 5).stat().st_mtime_ns
    monkeypatch.setattr(study_module, "_train", None)
    monkeypatch.setattr(study_module, "evaluate", None)
    run(finished)
    assert answers_path(finished.output, TABLE_1[0], 5).stat().st_mtime_ns == before


@pytest.mark.slow
def test_report_has_all_tables_plots_and_pictures(finished, monkeypatch):
    from livephoto_core.evaluation.claims import command, sweeps

    monkeypatch.setattr(sweeps, "PRIOR_FACTORS", (0.0, 1.0))
    monkeypatch.setattr(command, "NUM_LEVEL_PROMPTS", 1)
    options = EvaluationOptions(
        base=finished.base,
        livephoto=checkpoint_path(training_folder(finished.output, FULL, 5), finished.num_steps),
        counts={"motion": 1, "level": 2},
        num_steps=1,
        num_processes=1,
        comfyui=finished.comfyui,
    )
    write_report(finished, options)
    tables = (finished.output / "tables.md").read_text()
    assert all(f"| {variant.name} |" in tables for variant in TRIED)
    assert "| full, seed 5 |" in tables
    for name in ("variants", "prior", "levels", "levels-frames", "conflicts-frames"):
        assert Image.open(finished.output / f"{name}.png").size[0] > 100
    prior = json.loads((finished.output / "prior.json").read_text())
    assert list(prior) == ["0", "1"]
    levels = json.loads((finished.output / "levels.json").read_text())
    assert [answer["asked_level"] for answer in levels] == list(range(1, 11))


@pytest.mark.slow
def test_failed_training_says_where_its_words_are(study, tmp_path):
    from dataclasses import replace

    nowhere = replace(study, data=tmp_path / "none", output=tmp_path / "out")
    with pytest.raises(RuntimeError, match=r"without-content-encoder, seed 5, failed: .*log"):
        run(nowhere)
    log = tmp_path / "out" / "without-content-encoder-seed5" / "training.log"
    assert "files.data: " in log.read_text()


def test_uneven_shares_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--clips-per-step must be a multiple of --processes"):
        run(Study(data=tmp_path, output=tmp_path / "out", clips_per_step=3, num_processes=2))


def folder_of(study, variant):
    return training_folder(study.output, variant.training, 5)
