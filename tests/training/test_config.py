"""Options: presets, the command line, and mistakes, which must name the option."""

from __future__ import annotations

import dataclasses

import pytest

from livephoto_core.training.config import (
    FileOptions,
    TrainingConfig,
    list_options,
    read_options,
    set_options,
    write_options,
)
from livephoto_core.training.presets import NOT_MEASURED, PRESETS, find_preset


def test_options_survive_being_written(tmp_path):
    config = set_options(
        TrainingConfig(),
        [
            "files.data=/some where/with=sign",
            "parts.frozen=motion,text",
            "parts.intensity=false",
            "noise.schedule=linear",
            "noise.timestep_power=0.1",
            "optimiser.learning_rate=3e-05",
            "run.steps=12",
        ],
    )
    write_options(tmp_path, config)
    assert read_options(tmp_path) == config
    assert config.parts.frozen == ("motion", "text") and config.parts.intensity is False
    assert config.files.data == "/some where/with=sign"


def test_every_option_can_be_set_to_what_it_is():
    config = TrainingConfig()
    assert set_options(config, list_options(config)) == config
    assert len(list_options(config)) == sum(
        len(dataclasses.fields(getattr(config, group.name))) for group in dataclasses.fields(config)
    )


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("run.step=3", "'run.step=3' sets no option.*run.steps"),
        ("run.steps", "sets no option"),
        ("check.steps=3", "sets no option"),
        ("steps=3", "sets no option"),
        ("run.steps=many", "run.steps must be a whole number, got 'many'"),
        ("run.steps=1.5", "run.steps must be a whole number"),
        ("run.steps=none", "run.steps must be a whole number"),
        ("noise.text_drop=half", "noise.text_drop must be a number"),
        ("run.bf16=1", "run.bf16 must be one of true, false"),
        ("noise.schedule=cosine", "noise.schedule must be one of scaled_linear, linear"),
        ("parts.frozen=sound", "parts.frozen must be one of motion, input, content, text"),
    ],
)
def test_mistake_on_the_command_line_names_the_option(assignment, message):
    with pytest.raises(ValueError, match=message):
        set_options(TrainingConfig(), [assignment])


@pytest.mark.parametrize(
    ("assignments", "name"),
    [
        (["run.steps=0"], "run.steps"),
        (["run.batch_size=0"], "run.batch_size"),
        (["run.accumulation=-1"], "run.accumulation"),
        (["run.seed=-1"], "run.seed"),
        (["run.num_threads=-1"], "run.num_threads"),
        (["run.save_every=25"], "run.save_every must be a multiple of run.log_every"),
        (["run.sensitivity_every=5"], "run.sensitivity_every must be a multiple"),
        (["noise.text_drop=2"], "noise.text_drop"),
        (["run.sample_cfg=0"], "run.sample_cfg"),
        (["run.sample_cfg=nan"], "run.sample_cfg"),
        (["optimiser.beta1=1"], "optimiser.beta1"),
        (["parts.frozen=motion"], "parts.frozen: motion would stay without any training"),
    ],
)
def test_config_that_cannot_work_is_refused_by_name(assignments, name):
    with pytest.raises(ValueError, match=name):
        set_options(TrainingConfig(), assignments).check()


def test_missing_and_contradicting_files_are_refused_by_name(tmp_path):
    here = str(tmp_path)
    files = FileOptions(data=here, base=here, output=here, content_encoder=here)
    full = TrainingConfig(files=files)
    full.check_files()
    for name in ("data", "base", "output"):
        with pytest.raises(ValueError, match=f"files.{name} is needed"):
            set_options(full, [f"files.{name}=none"]).check_files()
    for name in ("data", "base", "content_encoder", "init_from"):
        with pytest.raises(ValueError, match=f"files.{name}: /nowhere does not exist"):
            set_options(full, [f"files.{name}=/nowhere"]).check_files()
    with pytest.raises(ValueError, match="files.content_encoder is needed"):
        set_options(full, ["files.content_encoder=none"]).check_files()
    with pytest.raises(ValueError, match="files.content_encoder is given"):
        set_options(full, ["parts.content_encoder=false"]).check_files()


def test_folder_without_a_training_cannot_be_resumed(tmp_path):
    with pytest.raises(ValueError, match="--resume: .* holds no training"):
        read_options(tmp_path)


@pytest.mark.parametrize(
    ("steps", "advice"),
    [
        (900, "run.steps to 1600 or more, or optimiser.cooldown_steps to 800 or less"),
        (50, "run.steps to 1600 or more, or optimiser.cooldown_steps to 0 or less"),
    ],
)
def test_learning_rate_that_would_fall_before_it_is_reached_is_refused(steps, advice):
    shortened = set_options(find_preset("shapes").config, [f"run.steps={steps}"])
    with pytest.raises(ValueError, match=advice):
        shortened.check()
    rates = [shortened.optimiser.learning_rate_at(step, steps) for step in range(steps)]
    assert max(rates) < shortened.optimiser.learning_rate


def test_warmup_and_cooldown_that_just_fit_reach_the_learning_rate():
    shortened = set_options(find_preset("shapes").config, ["run.steps=1600"])
    shortened.check()
    rates = [shortened.optimiser.learning_rate_at(step, 1600) for step in range(1600)]
    assert max(rates) == shortened.optimiser.learning_rate


def test_training_without_cooldown_may_end_within_its_warmup():
    """It is the beginning of a longer one."""
    set_options(TrainingConfig(), ["run.steps=2", "optimiser.warmup_steps=500"]).check()


@pytest.mark.parametrize("name", PRESETS)
def test_preset_is_valid_and_says_what_it_is_for(name):
    preset = find_preset(name)
    preset.config.check()
    assert preset.purpose and preset.cost and preset.expected_score


# Needs a GPU; needs a training with the budget of `shapes`.
UNMEASURED = {
    ("webvid-256", "cost"),
    ("webvid-256", "expected_score"),
    ("shapes-paper", "expected_score"),
}


def test_presets_say_what_they_cost_and_reach_but_for_those_that_are_known_not_to():
    silent = {
        (name, entry)
        for name, preset in PRESETS.items()
        for entry in ("cost", "expected_score")
        if NOT_MEASURED in getattr(preset, entry)
    }
    assert silent == UNMEASURED


@pytest.mark.parametrize(("name", "cfg"), [("webvid-256", 7.5), ("shapes", 1.5)])
def test_samples_of_a_preset_are_guided_as_its_model_is_used(name, cfg):
    assert find_preset(name).config.run.sample_cfg == cfg


def test_paper_presets_keep_to_the_paper():
    for name in ("webvid-256", "shapes-paper"):
        config = find_preset(name).config
        assert config.noise.text_drop == 0.5
        assert (config.noise.timestep_low, config.noise.timestep_high) == (0, 1000)
        assert config.parts == type(config.parts)()


def test_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="--preset must be one of webvid-256, shapes"):
        find_preset("webvid")
