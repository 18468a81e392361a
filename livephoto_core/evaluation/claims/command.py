"""`python -m livephoto_core.evaluation claims`: the paper's claims, measured by one command."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...atomic_files import write_atomically
from ...shapes.base_model import BASE_MODEL_PATH
from ...shapes.benchmark import Answer, Kind, as_rows
from ...shapes.evaluation import EvaluationOptions
from ...shapes.shipped import LIVEPHOTO_PATH
from ...training.state import checkpoint_path
from .pictures import write_figures
from .plots import plot_levels, plot_prior, plot_variants
from .study import Study, run, training_folder
from .sweeps import sweep_levels, sweep_prior
from .tables import markdown_table, read_results
from .variants import FULL
from .words import measure_words, words_table

_log = logging.getLogger(__name__)

PRIOR_COUNTS: dict[Kind, int] = {"motion": 48, "level": 48}
NUM_LEVEL_PROMPTS = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument(
        "--data", type=Path, required=True, help="clips of `python -m livephoto_core.shapes clips`"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder; may be gone on with")
    parser.add_argument(
        "--motion",
        type=lambda text: None if text == "none" else Path(text),
        default=LIVEPHOTO_PATH,
        help="file whose motion modules all trainings start from, or none",
    )
    parser.add_argument("--steps", type=int, default=Study.num_steps, help="of each training")
    parser.add_argument("--clips-per-step", type=int, default=Study.clips_per_step, help="in all")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(Study.seeds), help="of each")
    parser.add_argument("--processes", type=int, default=Study.num_processes, help="of one thread")
    parser.add_argument("--base", type=Path, default=BASE_MODEL_PATH, help="the tiny base model")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=LIVEPHOTO_PATH,
        help="for levels and the prior; the trained variants are for the tables",
    )
    parser.add_argument("--comfyui", type=Path, help="ComfyUI's folder (or COMFYUI_PATH)")


def run_command(given: argparse.Namespace) -> int:
    """Trains and measures whatever is missing, then writes tables, plots and pictures."""
    study = Study(
        data=given.data,
        output=given.output,
        motion=given.motion,
        num_steps=given.steps,
        clips_per_step=given.clips_per_step,
        seeds=tuple(given.seeds),
        num_processes=given.processes,
        base=given.base,
        comfyui=given.comfyui,
    )
    run(study)
    options = EvaluationOptions(
        base=study.base,
        livephoto=given.checkpoint,
        counts=PRIOR_COUNTS,
        num_steps=study.sampling_steps,
        num_processes=study.num_processes,
        comfyui=study.comfyui,
    )
    write_report(study, options)
    return 0


def write_report(study: Study, options: EvaluationOptions) -> None:
    """Writes `tables.md` and all PNG files into the study's folder.

    Args:
        study: A finished one.
        options: Checkpoint and sampling for levels and the prior.
    """
    output = study.output
    results = read_results(output, study.variants, study.seeds)
    plot_variants(results, output / "variants.png")
    plot_prior(_once(output / "prior.json", lambda: sweep_prior(options)), output / "prior.png")
    rows = _once(output / "levels.json", lambda: as_rows(sweep_levels(options, NUM_LEVEL_PROMPTS)))
    plot_levels([Answer(**row) for row in rows], output / "levels.png")
    checkpoints = {
        f"{FULL.name}, seed {seed}": checkpoint_path(
            training_folder(output, FULL, seed), study.num_steps
        )
        for seed in study.seeds
    }
    words = measure_words({**checkpoints, options.livephoto.name: options.livephoto}, options)
    write_figures(output, options)
    tables = [markdown_table(results), words_table(words)]
    write_atomically(output / "tables.md", ("\n\n".join(tables) + "\n").encode())
    _log.info("Tables, plots and pictures are in %s.", output)


def _once(path: Path, measure: Callable[[], Any]) -> Any:
    """What `measure` gives, from the file if it has been measured before."""
    if not path.exists():
        write_atomically(path, json.dumps(measure(), indent=1).encode())
    return json.loads(path.read_text())
