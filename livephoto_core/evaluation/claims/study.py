"""Trains every variant with every seed on the same budget, and measures all of them alike.

Everything lies in one folder and is made once: a study that was stopped goes on where it was.

    <output>/motion.safetensors               the motion modules that all trainings start from
    <output>/<training>-seed<n>/              a folder of `training train`
    <output>/<variant>-seed<n>.json           figures and answers, as `shapes evaluate` writes them
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...atomic_files import write_atomically
from ...checkpoints import read_checkpoint, write_checkpoint
from ...shapes.base_model import BASE_MODEL_PATH
from ...shapes.benchmark import Kind, as_rows, score
from ...shapes.evaluation import EvaluationOptions, evaluate
from ...shapes.shipped import LIVEPHOTO_PATH
from ...training.state import STATE_FILE, checkpoint_path
from .variants import VARIANTS, Training, Variant

_log = logging.getLogger(__name__)

COUNTS: dict[Kind, int] = {
    "motion": 48,
    "conflicting": 48,
    "motion_only": 48,
    "without_text": 16,
    "level": 48,
}
"""Questions of each kind for each variant and seed."""


@dataclass(frozen=True)
class Study:
    """What a study is made with.

    Args:
        data: Clips, from `python -m livephoto_core.shapes clips`.
        output: Folder of the study.
        motion: LivePhoto file whose motion modules all trainings start from, as one would start
            from AnimateDiff's; their other parts are new. None trains from nothing, which on a CPU
            is too short for sentences to be followed at all.
        num_steps: Of each training; the learning rate falls over the last third.
        clips_per_step: Over all processes.
        seeds: Of the trainings. The questions are the same for all.
        variants: Rows of the tables.
        num_processes: Of trainings and evaluations, each with one thread.
        counts: Questions of each kind.
        sampling_steps: Denoising steps of an answer.
        base: File of the tiny base model.
        comfyui: ComfyUI's folder; by default COMFYUI_PATH's.
    """

    data: Path
    output: Path
    motion: Path | None = LIVEPHOTO_PATH
    num_steps: int = 900
    clips_per_step: int = 16
    seeds: tuple[int, ...] = (0, 1)
    variants: tuple[Variant, ...] = VARIANTS
    num_processes: int = 2
    counts: dict[Kind, int] | None = None
    sampling_steps: int = 16
    base: Path = BASE_MODEL_PATH
    comfyui: Path | None = None


def run(study: Study) -> None:
    """Makes whatever of the study is missing.

    Raises:
        ValueError: If the clips a step cannot be shared evenly between the processes.
        RuntimeError: If a training fails; what it said is in its folder's `training.log`.
    """
    if study.clips_per_step % study.num_processes:
        raise ValueError(
            f"--clips-per-step must be a multiple of --processes, got {study.clips_per_step} and "
            f"{study.num_processes}."
        )
    study.output.mkdir(parents=True, exist_ok=True)
    if study.motion is not None:
        write_motion_modules(study.motion, _motion_path(study))
    for seed in study.seeds:
        for variant in study.variants:
            path = answers_path(study.output, variant, seed)
            if path.exists():
                continue
            _train(study, variant.training, seed)
            _log.info("Measuring: %s, seed %d.", variant.name, seed)
            _measure(study, variant, seed, path)


def write_motion_modules(source: Path, path: Path) -> None:
    """Writes the motion modules of a LivePhoto file as a file of their own."""
    if path.exists():
        return
    checkpoint = read_checkpoint(source)
    config = dataclasses.replace(
        checkpoint.config,
        input_conditioning=None,
        content=None,
        text_reweighting=None,
        text_adapters=False,
    )
    weights = {
        name: tensor for name, tensor in checkpoint.state_dict.items() if name.startswith("motion.")
    }
    write_checkpoint(path, config, weights)


def answers_path(output: Path, variant: Variant, seed: int) -> Path:
    """Where a variant's figures of one seed lie."""
    slug = re.sub(r"[^a-z0-9]+", "-", variant.name).strip("-")
    return output / f"{slug}-seed{seed}.json"


def training_folder(output: Path, training: Training, seed: int) -> Path:
    """Where a training of one seed lies."""
    return output / f"{training.name}-seed{seed}"


def _motion_path(study: Study) -> Path:
    return study.output / "motion.safetensors"


def _measure(study: Study, variant: Variant, seed: int, path: Path) -> None:
    folder = training_folder(study.output, variant.training, seed)
    answers = evaluate(
        EvaluationOptions(
            base=study.base,
            livephoto=checkpoint_path(folder, study.num_steps),
            counts=COUNTS if study.counts is None else study.counts,
            num_steps=study.sampling_steps,
            prior=variant.prior,
            num_processes=study.num_processes,
            comfyui=study.comfyui,
        )
    )
    content = {"figures": score(answers), "answers": as_rows(answers)}
    write_atomically(path, json.dumps(content, indent=1).encode())


def _train(study: Study, training: Training, seed: int) -> None:
    folder = training_folder(study.output, training, seed)
    if checkpoint_path(folder, study.num_steps).exists():
        return
    folder.mkdir(exist_ok=True)
    log = folder / "training.log"
    _log.info("Training: %s, seed %d. Its words go to %s.", training.name, seed, log)
    command = [*_launcher(study), "train", *_arguments(study, training, folder, seed)]
    if study.comfyui is not None:
        command += ["--comfyui", str(study.comfyui)]
    with log.open("a") as words:
        done = subprocess.run(  # noqa: S603
            command,
            stdout=words,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"The training of {training.name}, seed {seed}, failed: see {log}.")


def _launcher(study: Study) -> list[str]:
    processes = ["--nproc_per_node", str(study.num_processes)]
    module = ["-m", "livephoto_core.training"]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", *processes, *module]


def _arguments(study: Study, training: Training, folder: Path, seed: int) -> Iterator[str]:
    if (folder / STATE_FILE).exists():
        yield from ("--resume", str(folder))
        return
    yield from ("--preset", "shapes", "--base", str(study.base))
    yield from ("--data", str(study.data), "--output", str(folder))
    if study.motion is not None:
        yield from ("--init-from", str(_motion_path(study)))
    settings = {
        "run.seed": seed,
        "run.steps": study.num_steps,
        "run.batch_size": study.clips_per_step // study.num_processes,
        "run.save_every": 300,
        "run.sample_every": 0,
        "optimiser.cooldown_steps": study.num_steps // 3,
        "parts.text_adapters": "false",
    }
    for setting in (*(f"{name}={value}" for name, value in settings.items()), *training.settings):
        yield from ("--set", setting)
