"""The demo's table and contact sheet."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.demo_measure import Result
from harness.demo_plan import Request
from harness.demo_report import contact_sheet, summary, table


def make_result(prompt="it moves left", asked=5.0, motion="move_left", level=5, frames=None):
    frames = torch.zeros(16, 64, 64, 3) if frames is None else frames
    return Result(Request(prompt, asked), motion, level, 2.04, frames)


def test_table_has_a_row_for_each_video_in_columns():
    results = [
        make_result(),
        make_result("a red heart, the camera pans left", 7.5, "pan_left", 8),
        make_result("a red heart", 5, "turn_counterclockwise", 2),
    ]
    heading, rule, *rows, _, _ = table(results).splitlines()
    starts = [0, *(i + 2 for i in range(len(rule)) if rule[i : i + 2] == "  ")]
    cells = [
        [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        for line in rows
    ]
    assert cells == [
        ["it moves left", "move left", "move left", "5", "5", "2.0"],
        ["a red heart, the camera pans left", "pan left", "pan left", "7.5", "8", "2.0"],
        ["a red heart", "-", "turn counterclockwise", "5", "2", "2.0"],
    ]
    assert heading.split()[0] == "sentence"


def test_summary_counts_what_is_as_asked():
    results = [
        make_result(),
        make_result(motion="move_right", level=6),
        make_result("a red heart", asked=2, level=7),
    ]
    assert summary(results) == (
        "Motion as asked: 1 of 2. Level within one of the asked: 2 of 3. 6 s in all."
    )


def test_sheet_shows_eight_frames_from_the_first_to_the_last_at_twice_their_size():
    colours = torch.linspace(0, 1, 16)
    frames = colours[:, None, None, None].expand(16, 64, 48, 3)
    sheet = np.asarray(contact_sheet([make_result(frames=frames)]))
    row = sheet[8 + 64, :, 0].astype(int)
    seen = [round(i * 15 / 7) for i in range(8)]
    columns = np.split(row[-8 * (96 + 8) - 8 :], np.arange(8, 8 * 104 + 1, 104))[1:]
    for column, frame in zip(columns, seen, strict=False):
        assert abs(column[:96] - 255 * frame / 15).max() <= 1
        assert (column[96:] == 255).all()


def test_sheet_has_a_row_with_text_for_each_video():
    long = make_result("a red heart in front of a soft gradient turns counterclockwise for ever")
    one, two = contact_sheet([long]), contact_sheet([long, make_result()])
    assert two.height - one.height == 2 * 64 + 8
    texts = np.asarray(two.convert("L"))[:, :280]
    for top in (8, 8 + 136):
        assert texts[top : top + 128].min() < 100, "the row has no text"
    assert (texts[:, -8:] == 255).all(), "text runs into the frames"


@pytest.mark.parametrize("prompt", ["", "w" * 400, "word " * 100])
def test_sheet_takes_any_sentence(prompt):
    assert contact_sheet([make_result(prompt)]).height == 2 * 64 + 16
