"""Questions about held-out combinations, and figures of known answers."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from scipy.stats import spearmanr

from livephoto_core.shapes.benchmark import Answer, as_rows, judge, make_questions, score, spearman
from livephoto_core.shapes.captions import MOTION_WORDS, words
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import MOTIONS
from livephoto_core.shapes.split import is_held_out

EDGES = (0.995, 0.99, 0.985, 0.98, 0.97, 0.96, 0.94, 0.92, 0.9)
ANSWER = Answer(
    kind="motion",
    asked_motion="grow",
    asked_level=3,
    motion="grow",
    level=3,
    ssim=0.98,
    first_frame_psnr_db=30.0,
    keeps_identity=True,
)


def questions(kind, count=32):
    return make_questions(kind, count, edges=EDGES, size_px=64)


def answer(**changes) -> Answer:
    return dataclasses.replace(ANSWER, **changes)


def test_questions_are_of_held_out_combinations_and_all_motions_alike():
    asked = questions("motion")
    assert all(is_held_out(question.scene) for question in asked)
    motions = [question.scene.motion for question in asked]
    assert all(motions.count(motion) == 2 for motion in MOTIONS)
    assert all(set(words(question.caption)) & MOTION_WORDS for question in asked)
    assert len({question.seed for question in asked}) == 32


def test_motion_is_asked_for_at_the_level_of_the_true_clip():
    for question in questions("motion", 5):
        assert (
            judge(render_clip(question.scene, size_px=64), question, EDGES).level == question.level
        )


def test_questions_without_text_are_the_same_but_for_the_text():
    with_text, without = questions("motion"), questions("without_text")
    assert [q.scene for q in with_text] == [q.scene for q in without]
    assert not any(question.caption for question in without)


def test_levels_are_asked_for_at_random():
    levels = [question.level for question in questions("level", 160)]
    assert set(levels) == set(range(1, 11))
    assert questions("level", 5)[0].scene != questions("motion", 5)[0].scene


def test_true_clips_get_full_marks():
    asked = questions("motion")
    clips = [render_clip(question.scene, size_px=64) for question in asked]
    figures = score([judge(c, q, EDGES) for c, q in zip(clips, asked, strict=True)])
    assert figures["motion_accuracy"] == figures["worst_motion_accuracy"] == 1
    assert figures["identity"] == 1 and figures["first_frame_psnr_db"] == float("inf")


def test_clip_of_another_motion_and_another_shape_is_seen_through():
    asked = questions("motion")[0]
    other = questions("motion")[1]
    seen = judge(render_clip(other.scene, size_px=64), asked, EDGES)
    assert (seen.motion, seen.asked_motion) == (other.scene.motion, asked.scene.motion)
    assert seen.first_frame_psnr_db < 25
    assert not seen.keeps_identity


def test_figures_of_known_answers():
    answers = [
        answer(),
        answer(motion="shrink", keeps_identity=False, first_frame_psnr_db=20.0),
        answer(asked_motion="wave", motion="wave"),
        answer(kind="without_text", motion="still", keeps_identity=False),
        *(
            answer(kind="level", asked_level=level, level=11 - level, ssim=0.9 + level / 100)
            for level in (1, 5, 10)
        ),
    ]
    figures = score(answers)
    assert figures["motion_accuracy"] == pytest.approx(2 / 3)
    assert figures["motion_accuracy_of"] == {"grow": 0.5, "wave": 1.0}
    assert figures["worst_motion_accuracy"] == 0.5
    assert figures["without_text_accuracy"] == 0
    assert figures["level_correlation"] == pytest.approx(-1)
    assert figures["level_correlation_within_motions"] == pytest.approx(-1)
    assert figures["level_1_ssim"] == pytest.approx(0.91)
    assert figures["identity"] == pytest.approx(5 / 6)
    assert figures["first_frame_psnr_db"] == pytest.approx(170 / 6)


def test_figures_without_questions_are_left_out():
    assert set(score([answer(kind="without_text")])) == {"without_text_accuracy"}


def test_rank_correlation_is_scipys():
    generator = torch.Generator().manual_seed(0)
    one = torch.randint(1, 11, (50,), generator=generator)
    other = one + torch.randint(-3, 4, (50,), generator=generator)
    expected = spearmanr(one, other).statistic
    assert spearman(one.tolist(), other.tolist()) == pytest.approx(expected)
    assert spearman([1, 2, 3], [5, 5, 5]) == 0


def test_rows_are_plain():
    assert as_rows([ANSWER])[0]["asked_motion"] == "grow"
