"""What `train` makes of its command line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from livephoto_core.comfyui import standalone
from livephoto_core.shapes.base_model import BASE_MODEL_PATH
from livephoto_core.training import assembly, command
from livephoto_core.training.config import (
    FileOptions,
    TrainingConfig,
    list_options,
    set_options,
    write_options,
)
from livephoto_core.training.presets import PRESETS, find_preset


def configuration(*arguments: str) -> TrainingConfig:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.configuration(parser.parse_args(arguments))


@pytest.fixture
def moved(tmp_path) -> Path:
    """The folder of a training that was started elsewhere."""
    options = "files.output=/old", "files.data=/clips", "run.seed=3", "run.steps=7"
    write_options(tmp_path, set_options(TrainingConfig(), options))
    return tmp_path


def test_options_come_from_preset_then_files_then_settings():
    given = "--preset", "shapes", "--data", "clips", "--init-from", "a", "--set", "run.seed=5"
    config = configuration(*given, "--set", "files.init_from=b")
    assert config.files == FileOptions(data="clips", init_from="b")
    assert config.run.seed == 5
    preset = find_preset("shapes").config
    assert (config.noise, config.optimiser) == (preset.noise, preset.optimiser)


def test_without_a_preset_options_are_the_defaults():
    assert configuration() == TrainingConfig()


def test_resumed_training_keeps_its_options_where_its_folder_lies_now(moved):
    config = configuration("--resume", str(moved), "--set", "run.steps=9", "--data", "/new")
    assert config.files == FileOptions(data="/new", output=str(moved))
    assert (config.run.seed, config.run.steps) == (3, 9)


@pytest.mark.parametrize("option", [("--output", "/new"), ("--set", "files.output=/new")])
def test_resuming_into_another_folder_is_refused(moved, option):
    with pytest.raises(ValueError, match="files.output is /new, but --resume goes on in"):
        configuration("--resume", str(moved), *option)


def test_resuming_from_another_initial_file_is_refused(moved):
    with pytest.raises(ValueError, match="files.init_from is b.pt, but .* was started with None"):
        configuration("--resume", str(moved), "--init-from", "b.pt")


def test_preset_for_a_training_that_goes_on_is_refused(moved):
    with pytest.raises(ValueError, match="--preset starts .* --resume goes on .* only one"):
        configuration("--preset", "shapes", "--resume", str(moved))


def test_options_are_listed_as_they_would_be_with_what_they_do(capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given = "--preset", "shapes", "--set", "run.seed=7", "--options"
    command.run(parser.parse_args(given))
    lines = capsys.readouterr().out.splitlines()
    config = set_options(find_preset("shapes").config, ["run.seed=7"])
    assert [line for line in lines if not line.startswith(" ")] == list_options(config)
    about = lines[lines.index("noise.text_drop=0.2") + 1]
    assert about.strip() == "Share of clips that are trained with the empty text, 0 to 1."


def test_help_says_what_every_preset_costs():
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    for preset in PRESETS.values():
        assert preset.cost in parser.format_help()


def test_more_processes_than_gpus_are_refused_before_the_files_are_opened(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    given = "--preset", "shapes", "--output", str(tmp_path / "run"), "--comfyui", "nowhere"
    files = "--base", str(BASE_MODEL_PATH), "--data", str(tmp_path)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(ValueError, match="--nproc_per_node 2: 1 GPU.* CUDA_VISIBLE_DEVICES"):
        command.run(parser.parse_args([*given, *files]))


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ((), "--set run.batch_size=2 --set run.accumulation=2 (as many clips a step) or --set"),
        (("run.batch_size=9", "run.recompute=true"), "run.batch_size=3 --set run.accumulation=3 "),
        (("run.batch_size=1", "run.recompute=true"), "Nothing takes less"),
        (("run.batch_size=1", "run.recompute=true", "run.bf16=false"), "Give --set run.bf16=true."),
    ],
)
def test_memory_that_does_not_suffice_says_what_takes_less(settings, advice, monkeypatch, tmp_path):
    def fail(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …")

    monkeypatch.setattr(assembly, "from_files", fail)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(standalone, "use_comfyui", lambda *_arguments, **_options: None)
    sets = [word for setting in settings for word in ("--set", setting)]
    files = "--base", str(BASE_MODEL_PATH), "--data", str(tmp_path), "--output", str(tmp_path / "r")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(ValueError, match="GPU's memory") as caught:
        command.run(parser.parse_args([*files, *sets]))
    assert advice in str(caught.value)
