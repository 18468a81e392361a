"""Figures over seeds, and differences with their intervals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from livephoto_core.evaluation.claims.results import (
    COLUMNS,
    Outcome,
    Spread,
    difference,
    read_results,
    spread,
)
from livephoto_core.evaluation.claims.variants import TABLE_1
from livephoto_core.shapes.benchmark import score
from livephoto_core.shapes.scene import MOTIONS
from tests.evaluation.claims.outcomes import outcome, write_outcome
from tests.shapes.answers import answer

KINDS = ("motion", "conflicting", "motion_only", "without_text", "level")


def random_answers(seed: int, accuracy: float = 0.5):
    rng = np.random.default_rng(seed)
    return [
        answer(
            kind=kind,
            asked_motion=motion,
            motion=motion if rng.random() < accuracy else "nothing",
            asked_level=int(rng.integers(1, 11)),
            level=int(rng.integers(1, 11)),
            keeps_shape=bool(rng.random() < 0.5),
            keeps_colour=bool(rng.random() < 0.8),
            first_frame_psnr_db=rng.normal(30),
            frame_similarity=rng.random(),
        )
        for kind, motion in itertools.product(KINDS, MOTIONS)
    ]


def measured(seed: int, accuracy: float = 0.5) -> Outcome:
    answers = random_answers(seed, accuracy)
    return Outcome(dict(score(answers)), answers)


def test_columns_take_the_figures_that_the_benchmark_takes():
    one, other = measured(1), measured(2)
    assert [name for name, column in COLUMNS.items() if not column.statistic] == [
        "worst_motion_accuracy"
    ]
    for name, column in COLUMNS.items():
        if column.statistic is None:
            continue
        answers = [a for a in one.answers if a.kind in column.kinds]
        [once] = column.statistic(answers, np.arange(len(answers))[None])
        assert once == pytest.approx(one.figures[name])
        found = difference([one], [other], name)
        assert found.mean == pytest.approx(one.figures[name] - other.figures[name])
        assert found.interval[0] < found.mean < found.interval[1]


def test_spread_is_the_mean_and_the_range_over_the_seeds():
    assert spread([outcome(0.5), outcome(0.75)], "identity") == Spread(0.625, 0.5, 0.75)
    assert spread([Outcome({}, [])], "identity") is None


def test_interval_is_that_of_the_central_limit_theorem():
    values = np.random.default_rng(0).normal(1.0, 2.0, 400)
    answers = [answer(first_frame_psnr_db=30 + value) for value in values]
    zeros = [answer(first_frame_psnr_db=30.0)] * 400
    pair = [[Outcome(dict(score(of)), of)] for of in (answers, zeros)]
    half_width = 1.96 * values.std() / 20
    low, high = difference(*pair, "first_frame_psnr_db").interval
    assert low == pytest.approx(values.mean() - half_width, abs=0.03)
    assert high == pytest.approx(values.mean() + half_width, abs=0.03)


def test_answers_are_compared_question_by_question():
    # Every second question is hard for both: that is no noise of the difference.
    full = [answer(first_frame_psnr_db=20.0 + 10 * (i % 2)) for i in range(40)]
    worse = [answer(first_frame_psnr_db=a.first_frame_psnr_db - 1) for a in full]
    found = difference(
        [Outcome(dict(score(worse)), worse)] * 2,
        [Outcome(dict(score(full)), full)] * 2,
        "first_frame_psnr_db",
    )
    assert found.interval == pytest.approx((-1, -1)) and found.is_clear


def test_second_seed_with_the_same_answers_tells_nothing_more():
    one, other = measured(1), measured(2)
    once = difference([one], [other], "conflicting_identity")
    twice = difference([one, one], [other, other], "conflicting_identity")
    assert twice == once and once.interval[0] < once.mean


def test_difference_is_clear_only_where_its_interval_excludes_zero():
    same = difference([measured(1)], [measured(2)], "motion_accuracy")
    better = difference([measured(1, 1.0)], [measured(2, 0.1)], "motion_accuracy")
    assert not same.is_clear and better.is_clear


def test_difference_is_not_clear_where_a_seed_disagrees():
    def seeds(*levels):
        answers = [[answer(first_frame_psnr_db=level)] * 20 for level in levels]
        return [Outcome(dict(score(of)), of) for of in answers]

    found = difference(seeds(30.0, 24.5), seeds(25.0, 25.0), "first_frame_psnr_db")
    assert found.interval == pytest.approx((2.25, 2.25)) and not found.is_clear
    assert difference(seeds(30.0, 25.5), seeds(25.0, 25.0), "first_frame_psnr_db").is_clear


def test_figure_without_a_statistic_has_a_difference_without_an_interval():
    found = difference([outcome(0.5)], [outcome(0.75)], "worst_motion_accuracy")
    assert (found.mean, found.interval, found.is_clear) == (-0.25, None, False)


def test_levels_that_are_followed_are_clearly_better_than_chance():
    asked = [level for level in range(1, 11) for _ in range(4)]
    levels = {"followed": asked, "chance": np.random.default_rng(0).permutation(asked).tolist()}
    outcomes = {}
    for name, measured_levels in levels.items():
        answers = [
            answer(kind="level", asked_level=a, level=m)
            for a, m in zip(asked, measured_levels, strict=True)
        ]
        outcomes[name] = [Outcome(dict(score(answers)), answers)]
    found = difference(outcomes["followed"], outcomes["chance"], "level_correlation")
    assert found.is_clear and 0.5 < found.interval[0] < found.mean < found.interval[1] < 1.5


def test_figure_that_was_not_measured_has_no_difference():
    assert difference([Outcome({}, [])], [outcome(0.5)], "identity") is None


def test_results_are_those_of_the_files(tmp_path):
    answers = random_answers(3)
    write_outcome(tmp_path, TABLE_1[0], 0, answers=answers)
    results = read_results(tmp_path, TABLE_1[:1], (0,))
    assert results[TABLE_1[0]] == [Outcome(dict(score(answers)), answers)]


def test_unfinished_study_is_refused_by_the_missing_file(tmp_path):
    write_outcome(tmp_path, TABLE_1[0], 0)
    with pytest.raises(ValueError, match="reference-latent-seed1.json is not there yet"):
        read_results(tmp_path, TABLE_1[:1], (0, 1))
