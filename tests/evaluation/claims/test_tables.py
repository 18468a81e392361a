"""Tables of known results."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from livephoto_core.evaluation.claims.results import COLUMNS, Outcome
from livephoto_core.evaluation.claims.study import answers_path
from livephoto_core.evaluation.claims.tables import motions_table, study_tables
from livephoto_core.evaluation.claims.variants import FULL, OURS, ROWS, TABLE_1, TABLE_2
from livephoto_core.shapes.scene import MOTIONS
from livephoto_core.training.config import set_options
from livephoto_core.training.presets import find_preset
from tests.evaluation.claims.outcomes import outcome
from tests.shapes.answers import answer

HEADINGS = [column.heading for column in COLUMNS.values()]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def column(text: str, heading: str) -> dict[str, str]:
    """A column of the first table that has it, by the names in the first one."""
    lines = text.splitlines()
    [first, *_] = [i for i, line in enumerate(lines) if heading in cells(line)]
    place = cells(lines[first]).index(heading)
    table = list(itertools.takewhile(lambda line: line.startswith("|"), lines[first + 2 :]))
    return {cells(line)[0]: cells(line)[place] for line in table}


def test_every_row_of_the_papers_tables_is_there_once():
    names = [variant.name for variant in ROWS["all"]]
    assert len(set(names)) == len(names) == 10
    assert {*TABLE_1, *TABLE_2, *OURS} == {*ROWS["all"]}
    assert TABLE_1[-1] is TABLE_2[0] is FULL
    paths = {answers_path(Path(), variant, seed) for variant in ROWS["all"] for seed in (0, 1)}
    assert len(paths) == 20


def test_one_row_of_ours_has_the_papers_noise():
    preset = find_preset("shapes").config
    recipes = {v.name: set_options(preset, v.training.settings).noise for v in ROWS["all"]}
    papers = find_preset("shapes-paper").config.noise
    assert [name for name, noise in recipes.items() if noise == papers] == [
        "full, the paper's noise and text drop"
    ]


def test_rows_of_single_options_make_the_papers_noise_together():
    preset, papers = (find_preset(name).config.noise for name in ("shapes", "shapes-paper"))
    differing = {
        item.name
        for item in dataclasses.fields(papers)
        if getattr(papers, item.name) != getattr(preset, item.name)
    }
    alone = [variant.training.settings for variant in OURS if variant.name.endswith(" alone")]
    assert all(len(settings) == 1 for settings in alone)
    assert {settings[0].partition("=")[0] for settings in alone} == {
        f"noise.{name}" for name in differing
    }
    for [setting] in alone:
        [changed] = differing & {setting.partition("=")[0].removeprefix("noise.")}
        noise = set_options(find_preset("shapes").config, [setting]).noise
        assert getattr(noise, changed) == getattr(papers, changed)


def test_tables_have_the_papers_form_and_share_the_row_of_full():
    text = study_tables({variant: [outcome(0.5)] for variant in ROWS["all"]})
    first, second, ours = (text.split("\n## ")[part] for part in (1, 2, 3))
    against_full = [(FULL, row) for row in (*TABLE_2[1:], *OURS)]
    for part, variants, pairs in (
        (first, TABLE_1, [(TABLE_1[0], TABLE_1[1]), (TABLE_1[1], FULL)]),
        (second, TABLE_2, against_full[:2]),
        (ours, (FULL, *OURS), against_full[2:]),
    ):
        headings = [cells(line) for line in part.splitlines() if line.startswith("| figure |")]
        compared = [f"{row.name}, against {other.name}" for other, row in pairs]
        names = [variant.name for variant in variants]
        assert headings == [["figure", *names], ["figure", *compared]]
        assert list(column(part, names[0]))[:-1] == list(column(part, compared[0])) == HEADINGS


def test_table_of_ours_is_left_out_where_none_of_it_was_measured():
    text = study_tables({variant: [outcome(0.5)] for variant in ROWS["paper"]})
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Table 1: image content guidance",
        "## Table 2: motion control",
        "## Motion accuracy by kind, %",
    ]


def test_papers_numbers_stand_in_a_column_of_their_own_and_are_marked():
    text = study_tables({variant: [outcome(0.5)] for variant in ROWS["all"]})
    [row] = [name for name in column(text, FULL.name) if name.startswith("the paper: ")]
    published = {variant.name: column(text, variant.name)[row] for variant in ROWS["all"]}
    assert published == {
        "reference latent": "82.3 / 91.7",
        "+ content encoder": "85.9 / 93.2",
        "full (+ prior inversion)": "90.8 / 95.2",
        "without intensity": "90.3 / 94.8",
        "without re-weighting": "90.1 / 93.9",
        "full, text adapters": "–",
        "full, the paper's noise and text drop": "–",
        "full, the paper's timesteps alone": "–",
        "full, the paper's text drop alone": "–",
        "full, the paper's loss alone": "–",
    }
    assert "another world and another scale" in text.replace("\n", " ")


def test_row_shows_mean_and_range_of_the_seeds():
    seeds = [outcome(0.5, first_frame_psnr_db=25.0), outcome(0.7, first_frame_psnr_db=26.0)]
    shown = column(study_tables({FULL: seeds}), FULL.name)
    assert shown["motion, %"] == "60 (50 to 70)"
    assert shown["first frame, dB"] == "25.5 (25.0 to 26.0)"


def test_figure_that_is_missing_is_a_dash():
    figures = {**outcome(0.5).figures}
    del figures["level_motion_accuracy"]
    without, with_encoder, _ = TABLE_1
    text = study_tables({without: [Outcome(figures, [])], with_encoder: [outcome(0.5)]})
    for heading in (without.name, f"{with_encoder.name}, against {without.name}"):
        assert column(text, heading)["motion at any level, %"] == "–"


def test_difference_says_whether_its_interval_excludes_zero():
    right, wrong = answer(), answer(motion="nothing")
    full = Outcome(outcome(1.0).figures, [right] * 20)
    worse = Outcome(outcome(0.5).figures, [right, wrong] * 10)
    text = study_tables({FULL: [full], TABLE_2[1]: [worse], TABLE_2[2]: [full]})
    found = column(text, f"{TABLE_2[1].name}, against {FULL.name}")
    assert found["motion, %"].startswith("-50 (-") and found["motion, %"].endswith("), yes")
    assert found["worst kind of motion, %"] == "-50"  # no mean over answers
    same = column(text, f"{TABLE_2[2].name}, against {FULL.name}")
    assert same["motion, %"] == "+0 (+0 to +0), no"


def test_motions_have_a_row_each_with_the_mean_of_the_seeds():
    seeds = [outcome(0, motion_accuracy_of={"wave": value}) for value in (0.5, 0.75)]
    table = motions_table({FULL: seeds}).splitlines()
    assert [cells(line)[0] for line in table] == ["motion", "---", *MOTIONS]
    assert cells(table[2 + MOTIONS.index("wave")]) == ["wave", "62"]
    assert cells(table[2 + MOTIONS.index("still")]) == ["still", "–"]
