"""Tables and word figures of known results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from livephoto_core.evaluation.claims.study import answers_path
from livephoto_core.evaluation.claims.tables import COLUMNS, Spread, markdown_table, read_results
from livephoto_core.evaluation.claims.variants import TABLE_1, TABLE_2, VARIANTS
from livephoto_core.evaluation.claims.words import mean_weights, words_table


def write_figures(folder, variant, seed, **changes):
    figures = {**dict.fromkeys(COLUMNS, 0.5), "first_frame_psnr_db": 30.0, **changes}
    answers_path(folder, variant, seed).write_text(json.dumps({"figures": figures}))


def test_every_row_of_the_papers_tables_is_there_once():
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names) == 6
    assert {*TABLE_1, *TABLE_2} < {*VARIANTS}
    assert TABLE_1[-1] is TABLE_2[0]
    paths = {answers_path(Path(), variant, seed) for variant in VARIANTS for seed in (0, 1)}
    assert len(paths) == 12


def test_table_holds_means_and_ranges_over_the_seeds(tmp_path):
    variant = TABLE_1[0]
    for seed, (accuracy, psnr) in enumerate([(0.5, 25.0), (0.7, 26.0)]):
        write_figures(tmp_path, variant, seed, motion_accuracy=accuracy, first_frame_psnr_db=psnr)
    results = read_results(tmp_path, [variant], (0, 1))
    assert results[variant]["motion_accuracy"].mean == pytest.approx(0.6)
    header, rule, row = markdown_table(results).splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == len(header.strip("|").split("|")) == len(rule.strip("|").split("|"))
    assert (cells[0], cells[1], cells[-1]) == ("reference latent", "60 ± 10", "25.5 ± 0.5")


def test_one_seed_has_no_range(tmp_path):
    write_figures(tmp_path, TABLE_1[0], 3, identity=0.25)
    results = read_results(tmp_path, TABLE_1[:1], (3,))
    assert results[TABLE_1[0]]["identity"] == Spread(0.25, 0.0)


def test_unfinished_study_is_refused_by_the_missing_file(tmp_path):
    write_figures(tmp_path, TABLE_1[0], 0)
    with pytest.raises(ValueError, match="reference-latent-seed1.json is not there yet"):
        read_results(tmp_path, TABLE_1[:1], (0, 1))


def test_words_are_averaged_by_their_kind():
    sentences = [
        {"a": 0.9, "red": 0.2, "circle": 0.4, "moves": 0.8, "left": 1.0},
        {"green": 0.3, "lightning": 0.6},
    ]
    means = mean_weights(sentences)
    assert means["motion"] == pytest.approx((0.8 + 1.0 + 0.6) / 3)
    assert means["content"] == pytest.approx((0.2 + 0.4 + 0.3) / 3)
    assert words_table({"full": means}).splitlines()[-1] == "| full | 0.800 | 0.300 |"
