"""Plots are written, and show what they were given."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from livephoto_core.evaluation.claims import plots
from livephoto_core.evaluation.claims.plots import (
    plot_levels,
    plot_prior,
    plot_variants,
    plot_words,
)
from livephoto_core.evaluation.claims.results import COLUMNS, Outcome
from livephoto_core.evaluation.claims.variants import ROWS
from tests.evaluation.claims.outcomes import outcome
from tests.shapes.answers import answer


@pytest.fixture
def axes(monkeypatch):
    """The panels of a plot, by their titles."""
    shown = {}

    def keep(figure, path):
        shown.update({axis.get_title(): axis for axis in figure.axes})

    monkeypatch.setattr(plots, "_save", keep)
    return shown


def inked(path) -> float:
    """Share of pixels that are not white."""
    return float((np.asarray(Image.open(path).convert("L")) < 250).mean())


def results(value: float, **changes):
    return {variant: [outcome(value, **changes)] for variant in ROWS["all"]}


def test_bars_grow_with_the_figures(tmp_path):
    shares = {}
    for value in (0.0, 1.0):
        path = tmp_path / f"{value}.png"
        plot_variants(results(value), path, true_similarity=value)
        shares[value] = inked(path)
    assert shares[1.0] > 2 * shares[0.0]


def test_frame_similarity_is_shown_where_its_values_lie(tmp_path, axes):
    shown = results(0.5, frame_similarity=0.992)
    plot_variants(shown, tmp_path / "variants.png", true_similarity=0.995)
    low, high = axes[COLUMNS["frame_similarity"].heading].get_xlim()
    assert 99 < low < 99.2 < 99.5 < high < 100
    [truth] = axes[COLUMNS["frame_similarity"].heading].lines
    assert list(truth.get_xdata()) == pytest.approx([99.5, 99.5])
    assert axes[COLUMNS["identity"].heading].get_xlim()[0] == 0


def test_variants_are_plotted_without_a_figure_that_was_not_measured(tmp_path, axes):
    shown = {**results(0.5), ROWS["all"][0]: [Outcome({"identity": 0.5}, [])]}
    plot_variants(shown, tmp_path / "variants.png", true_similarity=0.9)
    assert len(axes[COLUMNS["identity"].heading].patches) == len(ROWS["all"])
    assert len(axes[COLUMNS["motion_accuracy"].heading].patches) == len(ROWS["all"]) - 1


def test_figure_that_no_variant_has_takes_no_panel(tmp_path, axes):
    shown = {variant: [Outcome({"identity": 0.0}, [])] for variant in ROWS["paper"]}
    plot_variants(shown, tmp_path / "variants.png", true_similarity=0.9)
    assert [*axes] == [COLUMNS["identity"].heading]
    assert axes[COLUMNS["identity"].heading].get_xlim() == (0, 100)


def test_prior_is_plotted_for_the_figures_that_all_factors_have(tmp_path, axes):
    sweep = {"0": {"identity": 0.2}, "1": {"identity": 0.9, "motion_accuracy": 0.5}}
    plot_prior({"full": sweep, "given": sweep}, tmp_path / "prior.png")
    [panel] = axes.values()
    assert [list(line.get_ydata()) for line in panel.lines] == [[20, 90], [20, 90]]


def test_levels_have_a_panel_for_each_checkpoint(tmp_path, axes):
    rising = [answer(asked_level=level, level=level) for level in range(1, 11)] * 2
    flat = [answer(asked_level=level, level=5) for level in range(1, 11)] * 2
    plot_levels({"full": rising, "given": flat}, tmp_path / "levels.png")
    means = {name: list(axis.lines[-1].get_ydata()) for name, axis in axes.items()}
    assert means == {"full": list(range(1, 11)), "given": [5] * 10}


def test_words_have_a_bar_for_each_kind_and_the_untrained_weight(tmp_path, axes):
    means = {"motion": 0.75, "content": 0.25, "function": 0.5}
    plot_words({"full": means, "given": means}, tmp_path / "words.png")
    [axis] = axes.values()
    assert [bar.get_height() for bar in axis.patches] == [0.75] * 2 + [0.25] * 2 + [0.5] * 2
    assert set(axis.lines[0].get_ydata()) == {0.98}
