"""Sheets of frames: what lies where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from livephoto_core.evaluation.claims import pictures
from livephoto_core.evaluation.claims.pictures import (
    frame_sheet,
    write_conflict_frames,
    write_level_frames,
)
from livephoto_core.evaluation.claims.variants import FULL, WITHOUT_REWEIGHTING
from livephoto_core.motion_intensity import DEFAULT_EDGES
from livephoto_core.shapes.evaluation import CheckpointFacts, EvaluationOptions

STRIP, LABEL = 8, 14


@pytest.fixture
def sheets(monkeypatch):
    """The rows of every sheet, for clips of checkpoints that are not there."""
    made = []
    monkeypatch.setattr(
        pictures, "checkpoint_facts", lambda options: CheckpointFacts(DEFAULT_EDGES, 32)
    )
    monkeypatch.setattr(
        pictures,
        "_animate_all",
        lambda questions, options, size_px: [
            (options.livephoto.name, question.level) for question in questions
        ],
    )

    def keep(rows):
        made.append(rows)
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(pictures, "frame_sheet", keep)
    return made


def options(name: str) -> EvaluationOptions:
    return EvaluationOptions(base=Path("base"), livephoto=Path(name), counts={})


def test_sheet_has_a_label_and_every_third_frame_of_each_clip():
    clip = torch.linspace(0, 1, 16).view(16, 1, 1, 1).expand(16, 4, 4, 3)
    sheet = np.asarray(frame_sheet([("level 1", clip), ("", 1 - clip)]))
    assert sheet.shape == (2 * (STRIP + LABEL), 48, 3)
    expected = (clip[[0, 3, 6, 9, 12, 15], 0, 0, 0] * 255).round().numpy()
    np.testing.assert_array_equal(sheet[LABEL, ::8, 0], expected)
    np.testing.assert_array_equal(sheet[-1, ::8, 0], 255 - expected)
    assert (sheet[:LABEL] < 128).any() and (sheet[STRIP + LABEL :][:LABEL] == 255).all()


def test_one_prompt_is_shown_at_all_ten_levels(sheets, tmp_path):
    write_level_frames(tmp_path / "levels.png", options("full"))
    [rows] = sheets
    assert [clip for _, clip in rows] == [("full", level) for level in range(1, 11)]
    assert len({label.split(": ")[1] for label, _ in rows}) == 1
    assert [label.split(":")[0] for label, _ in rows] == [f"level {n}" for n in range(1, 11)]


def test_conflicts_show_the_picture_and_both_variants_of_a_prompt(sheets, tmp_path):
    variants = {FULL.name: options("full"), WITHOUT_REWEIGHTING.name: options("without")}
    write_conflict_frames(tmp_path / "conflicts.png", variants)
    [rows] = sheets
    truth, full, without = rows[::3], rows[1::3], rows[2::3]
    assert len(truth) == len(full) == len(without) == pictures.NUM_CONFLICTS
    assert all(clip.shape[0] == 16 and clip.shape[3] == 3 for _, clip in truth)
    assert {clip[0] for _, clip in full} == {"full"}
    assert {clip[0] for _, clip in without} == {"without"}
    prompts = [label.removeprefix(f"{FULL.name}: ") for label, _ in full]
    assert prompts == [label.removeprefix(f"{WITHOUT_REWEIGHTING.name}: ") for label, _ in without]
    assert len(set(prompts)) == pictures.NUM_CONFLICTS
