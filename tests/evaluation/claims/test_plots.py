"""Plots and sheets: they are written, and show what they were given."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from livephoto_core.evaluation.claims.pictures import frame_sheet
from livephoto_core.evaluation.claims.plots import plot_levels, plot_prior, plot_variants
from livephoto_core.evaluation.claims.tables import COLUMNS, spread
from livephoto_core.evaluation.claims.variants import VARIANTS
from livephoto_core.shapes.benchmark import Answer


def inked(path) -> float:
    """Share of pixels that are not white."""
    return float((np.asarray(Image.open(path).convert("L")) < 250).mean())


def results(value: float):
    return {variant: dict.fromkeys(COLUMNS, spread([value])) for variant in VARIANTS}


def test_bars_grow_with_the_figures(tmp_path):
    shares = {}
    for value in (0.0, 1.0):
        path = tmp_path / f"{value}.png"
        plot_variants(results(value), path)
        shares[value] = inked(path)
    assert shares[1.0] > 2 * shares[0.0]


def test_prior_is_plotted_for_the_figures_that_all_factors_have(tmp_path):
    path = tmp_path / "prior.png"
    plot_prior({"0": {"identity": 0.2}, "1": {"identity": 0.9, "motion_accuracy": 0.5}}, path)
    one_panel = Image.open(path).size
    plot_prior({factor: dict.fromkeys(COLUMNS, 0.5) for factor in ("0", "1", "2")}, path)
    assert Image.open(path).size[1] > one_panel[1]


def answer(asked: int, measured: int) -> Answer:
    return Answer(
        kind="level",
        asked_motion="wave",
        asked_level=asked,
        motion="wave",
        level=measured,
        ssim=0.9,
        first_frame_psnr_db=30.0,
        keeps_shape=True,
        keeps_colour=True,
        frame_similarity=0.9,
    )


def test_levels_of_the_same_answers_make_the_same_picture(tmp_path):
    rising = [answer(level, level) for level in range(1, 11)] * 2
    flat = [answer(level, 5) for level in range(1, 11)] * 2
    pictures = []
    for answers in (rising, rising, flat):
        plot_levels(answers, tmp_path / "levels.png")
        pictures.append((tmp_path / "levels.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_sheet_has_a_row_for_each_clip_and_every_third_frame():
    clip = torch.linspace(0, 1, 16).view(16, 1, 1, 1).expand(16, 4, 4, 3)
    sheet = np.asarray(frame_sheet([clip, 1 - clip]))
    assert sheet.shape == (16, 48, 3)
    expected = (clip[[0, 3, 6, 9, 12, 15], 0, 0, 0] * 255).round().numpy()
    np.testing.assert_array_equal(sheet[0, ::8, 0], expected)
    np.testing.assert_array_equal(sheet[15, ::8, 0], 255 - expected)
