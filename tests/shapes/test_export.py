"""What is written beside the weights: how they were made, and what was measured."""

from __future__ import annotations

import json

import pytest

from livephoto_core import atomic_files
from livephoto_core.shapes import export
from livephoto_core.shapes.evaluation import EvaluationOptions
from livephoto_core.shapes.export import training_record, write_evaluation
from livephoto_core.training.config import TrainingConfig, set_options, write_options


def test_evaluation_that_cannot_be_written_leaves_the_old_file(tmp_path, monkeypatch):
    livephoto, path = tmp_path / "a.safetensors", tmp_path / "answers.json"
    livephoto.write_bytes(b"weights")
    path.write_text("old")

    def fail(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(atomic_files.os, "fsync", fail)
    monkeypatch.setattr(export, "score", lambda answers: {})
    options = EvaluationOptions(base=tmp_path, livephoto=livephoto, counts={})
    with pytest.raises(OSError, match="no space left"):
        write_evaluation(path, options, [])
    assert path.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [livephoto, path]


def logged_training(folder, *assignments, clips_per_step=16):
    """A training's options and its log: 30 steps, whose pace halves after every ten."""
    write_options(folder, set_options(TrainingConfig(), assignments))
    lines = [
        f"step={step} loss=1 clips_per_step={clips_per_step} clips_per_s={pace}\n"
        for step, pace in ((10, 8), (20, 4), (30, 2))
    ]
    (folder / "log.txt").write_text("".join([*lines, "step=30 validation_loss=2\n"]))
    return folder


@pytest.mark.parametrize(
    ("clips_per_step", "num_processes", "start"),
    [
        (16, 1, "python -m livephoto_core.training train --set "),
        (
            48,
            3,
            "python -m torch.distributed.run --nproc_per_node 3 "
            "-m livephoto_core.training train --set ",
        ),
    ],
)
def test_recorded_command_starts_as_many_processes_as_trained(
    clips_per_step, num_processes, start, tmp_path
):
    batches = "run.batch_size=8", "run.accumulation=2"
    folder = logged_training(tmp_path, *batches, clips_per_step=clips_per_step)
    record = training_record(folder, 30)
    assert record["num_processes"] == num_processes
    assert record["command"].startswith(start)


@pytest.mark.parametrize(
    ("num_steps", "num_clips", "seconds"), [(10, 160, 20), (20, 320, 60), (25, 400, 80)]
)
def test_record_adds_up_the_log_to_the_step(num_steps, num_clips, seconds, tmp_path):
    record = training_record(logged_training(tmp_path), num_steps)
    assert (record["num_clips"], record["seconds"]) == (num_clips, seconds)


def test_record_of_a_step_before_the_log_begins_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--training: .*log.txt has no line up to step 9"):
        training_record(logged_training(tmp_path), 9)


@pytest.mark.parametrize(
    ("facts", "data"),
    [
        ({"seed": 4, "num_clips": 32, "size_px": 64}, {"seed": 4, "num_clips": 32}),
        ({"seed": 4, "size_px": 64}, {"seed": 4}),
        (None, None),
    ],
)
def test_record_tells_of_the_clips_that_are_still_there(facts, data, tmp_path):
    if facts is not None:
        (tmp_path / "shapes_clips.json").write_text(json.dumps(facts))
    record = training_record(logged_training(tmp_path, f"files.data={tmp_path}"), 30)
    assert record.get("data") == data
