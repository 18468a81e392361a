"""Questions about held-out combinations, and figures of known answers."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import cosine
from scipy.stats import spearmanr

from livephoto_core.shapes.benchmark import (
    as_rows,
    frame_similarity,
    judge,
    make_questions,
    score,
    spearman,
)
from livephoto_core.shapes.captions import MOTION_WORDS, words
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import COLOURS, MOTIONS, SHAPES
from livephoto_core.shapes.split import is_held_out
from tests.shapes.answers import ANSWER, answer

EDGES = (0.995, 0.99, 0.985, 0.98, 0.97, 0.96, 0.94, 0.92, 0.9)
TOKENS = torch.ones(16, 4, 8)


def questions(kind, count=32):
    return make_questions(kind, count, edges=EDGES, size_px=64)


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
            judge(render_clip(question.scene, size_px=64), TOKENS, question, EDGES).level
            == question.level
        )


def test_questions_without_text_are_the_same_but_for_the_text():
    with_text, without = questions("motion"), questions("without_text")
    assert [q.scene for q in with_text] == [q.scene for q in without]
    assert not any(question.caption for question in without)


def test_level_tells_nothing_of_the_motion_without_text():
    without = questions("without_text", 160)
    still = [question.level for question in without if question.scene.motion == "still"]
    assert {
        question.level for question in questions("motion") if question.scene.motion == "still"
    } == {1}
    assert len(set(still)) > 4
    assert {q.level for q in without} == set(range(1, 11))


def test_questions_of_conflicting_and_motion_only_sentences_are_the_same_but_for_the_content():
    full, conflicting, alone = map(questions, ("motion", "conflicting", "motion_only"))
    assert [q.scene for q in full] == [q.scene for q in conflicting] == [q.scene for q in alone]
    for plain, other, motion in zip(full, conflicting, alone, strict=True):
        seen = {plain.scene.colour, plain.scene.shape}
        assert seen <= {*words(plain.caption)} and not seen & {*words(other.caption)}
        assert not {*SHAPES, *COLOURS} & {*words(motion.caption)}
        assert {*words(motion.caption)} & MOTION_WORDS


def test_levels_are_asked_for_at_random():
    levels = [question.level for question in questions("level", 160)]
    assert set(levels) == set(range(1, 11))
    assert questions("level", 5)[0].scene != questions("motion", 5)[0].scene


def test_true_clips_get_full_marks():
    asked = questions("motion")
    clips = [render_clip(question.scene, size_px=64) for question in asked]
    figures = score([judge(c, TOKENS, q, EDGES) for c, q in zip(clips, asked, strict=True)])
    assert figures["motion_accuracy"] == figures["worst_motion_accuracy"] == 1
    assert figures["identity"] == 1 and figures["first_frame_psnr_db"] == float("inf")


def test_clip_of_another_motion_and_another_shape_is_seen_through():
    asked = questions("motion")[0]
    other = questions("motion")[1]
    seen = judge(render_clip(other.scene, size_px=64), TOKENS, asked, EDGES)
    assert (seen.motion, seen.asked_motion) == (other.scene.motion, asked.scene.motion)
    assert seen.first_frame_psnr_db < 25
    assert not seen.keeps_identity


def test_level_of_a_sentence_of_stillness_is_not_counted():
    followed = [answer(kind="level", asked_level=level, level=level) for level in (2, 5, 7)]
    still = answer(kind="level", asked_motion="still", motion="still", asked_level=10, level=1)
    assert score([*followed, still])["level_correlation"] == pytest.approx(1)
    assert score([still])["level_correlation"] == 0


def test_figures_of_known_answers():
    answers = [
        answer(),
        answer(motion="shrink", keeps_shape=False, first_frame_psnr_db=20.0),
        answer(asked_motion="wave", motion="wave"),
        answer(kind="without_text", motion="still", keeps_shape=False),
        answer(
            kind="conflicting", keeps_colour=False, frame_similarity=0.0, first_frame_psnr_db=19.0
        ),
        answer(kind="motion_only"),
        answer(kind="motion_only", motion="still"),
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
    assert (figures["conflicting_accuracy"], figures["motion_only_accuracy"]) == (1, 0.5)
    assert figures["conflicting_identity"] == 0
    assert figures["conflicting_first_frame_psnr_db"] == 19.0
    assert figures["frame_similarity"] == pytest.approx(0.9)
    assert figures["level_correlation"] == pytest.approx(-1)
    assert figures["level_correlation_within_motions"] == pytest.approx(-1)
    assert figures["level_1_ssim"] == pytest.approx(0.91)
    assert figures["level_1_measured"] == 10 and figures["level_motion_accuracy"] == 1
    assert figures["identity"] == figures["shape_kept"] == pytest.approx(5 / 6)
    assert figures["colour_kept"] == 1
    assert figures["identity_of"] == {"grow": pytest.approx(4 / 5), "wave": 1.0}
    assert figures["first_frame_psnr_db"] == pytest.approx(170 / 6)


def test_figures_without_questions_are_left_out():
    assert set(score([answer(kind="without_text")])) == {"without_text_accuracy"}


def test_frames_are_as_similar_as_the_means_of_their_tokens():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(4, 9, 12, generator=generator)
    means = tokens.mean(dim=1).numpy()
    expected = [1 - cosine(means[index], means[index + 1]) for index in range(3)]
    assert frame_similarity(tokens) == pytest.approx(sum(expected) / 3, abs=1e-6)


def test_rank_correlation_is_scipys():
    generator = torch.Generator().manual_seed(0)
    one = torch.randint(1, 11, (50,), generator=generator)
    other = one + torch.randint(-3, 4, (50,), generator=generator)
    expected = spearmanr(one, other).statistic
    assert spearman(one.tolist(), other.tolist()) == pytest.approx(expected)
    assert spearman([1, 2, 3], [5, 5, 5]) == 0


def test_rows_are_plain():
    assert as_rows([ANSWER])[0]["asked_motion"] == "grow"
