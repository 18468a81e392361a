"""A finished study's tables, plots and frames."""

from __future__ import annotations

import dataclasses
import json
import logging
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ...atomic_files import write_atomically
from ...shapes.benchmark import Answer, Kind, as_rows
from ...shapes.evaluation import EvaluationOptions, answer_with_true_clips
from .pictures import write_conflict_frames, write_level_frames
from .plots import plot_levels, plot_prior, plot_variants, plot_words
from .results import read_results
from .study import Study, trained_path, variant_options
from .sweeps import sweep_levels, sweep_prior
from .tables import study_tables
from .variants import FULL, WITHOUT_REWEIGHTING
from .words import mean_weights, measure_words, words_table

_log = logging.getLogger(__name__)

TRUE_COUNTS: dict[Kind, int] = {"motion": 48}
PRIOR_COUNTS: dict[Kind, int] = {"motion": 32, "level": 32}
NUM_LEVEL_PROMPTS = 16


def write_report(study: Study) -> None:
    """Writes `tables.md`, `words.json` and all PNG files into the study's folder.

    Args:
        study: A finished one, with `FULL` and `WITHOUT_REWEIGHTING` among its variants.
    """
    output, seed = study.output, study.seeds[0]
    full = variant_options(study, FULL, seed)
    results = read_results(output, study.variants, study.seeds)
    truth = _true_similarity(full)
    blocks = [
        study_tables(results),
        f"True clips of {TRUE_COUNTS['motion']} motion questions, once they have been through the "
        f"autoencoder: adjacent frames {100 * truth:.2f} %.",
        "## Weights of words",
        _write_words(study, full),
    ]
    write_atomically(output / "tables.md", ("\n\n".join(blocks) + "\n").encode())
    plot_variants(results, output / "variants.png", true_similarity=truth)
    without = variant_options(study, WITHOUT_REWEIGHTING, seed)
    write_conflict_frames(
        output / "conflicts-frames.png", {FULL.name: full, WITHOUT_REWEIGHTING.name: without}
    )
    given = dataclasses.replace(full, livephoto=study.checkpoint, prior=None)
    _write_sweeps(output, {f"full-seed{seed}": full, "checkpoint": given})
    _log.info("Tables, plots and pictures are in %s.", output)


def _true_similarity(options: EvaluationOptions) -> float:
    """What adjacent frames of the clips that are asked for have in common, encoded and decoded."""
    answers = answer_with_true_clips(dataclasses.replace(options, counts=TRUE_COUNTS))
    return statistics.fmean(answer.frame_similarity for answer in answers)


def _write_sweeps(output: Path, checkpoints: Mapping[str, EvaluationOptions]) -> None:
    """α of the prior, and the levels, of each checkpoint."""
    priors: dict[str, Any] = {}
    levels: dict[str, list[Answer]] = {}
    for name, options in checkpoints.items():
        counted = dataclasses.replace(options, counts=PRIOR_COUNTS)
        priors[name] = _once(output / f"prior-{name}.json", partial(sweep_prior, counted))
        rows = _once(output / f"levels-{name}.json", partial(_level_rows, options))
        levels[name] = [Answer(**row) for row in rows]
        write_level_frames(output / f"levels-frames-{name}.png", options)
    plot_prior(priors, output / "prior.png")
    plot_levels(levels, output / "levels.png")


def _level_rows(options: EvaluationOptions) -> list[dict[str, object]]:
    return as_rows(sweep_levels(options, NUM_LEVEL_PROMPTS))


def _write_words(study: Study, options: EvaluationOptions) -> str:
    """Writes `words.json` and `words.png`; returns the table."""
    checkpoints = {
        f"full, seed {seed}": trained_path(study, FULL.training, seed) for seed in study.seeds
    }
    words = measure_words({**checkpoints, study.checkpoint.name: study.checkpoint}, options)
    rows = {name: [dataclasses.asdict(word) for word in of] for name, of in words.items()}
    write_atomically(study.output / "words.json", json.dumps(rows, indent=1).encode())
    means = {name: mean_weights(of) for name, of in words.items()}
    plot_words(means, study.output / "words.png")
    return words_table(means)


def _once(path: Path, measure: Callable[[], Any]) -> Any:
    """What `measure` gives, from the file if it has been measured before."""
    if not path.exists():
        write_atomically(path, json.dumps(measure(), indent=1).encode())
    return json.loads(path.read_text())
