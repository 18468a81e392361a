"""Trains every variant with every seed on the same budget, and measures all of them alike.

Everything lies in one folder and is made once: a study that was stopped goes on where it was.

    <output>/progress/settings.json           what decides on the results; it must stay the same
    <output>/start-seed0/                     the training that all others start from
    <output>/<training>-seed<n>/              a folder of `training train`
    <output>/<variant>-seed<n>.json           figures and answers, as `shapes evaluate` writes them
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...begun_folder import check_settings
from ...comfyui.standalone import check_device
from ...file_digest import file_sha256
from ...shapes.base_model import BASE_MODEL_PATH
from ...shapes.benchmark import Kind
from ...shapes.clips import FACTS_FILE
from ...shapes.evaluation import EvaluationOptions, evaluate
from ...shapes.export import write_evaluation
from ...shapes.shipped import LIVEPHOTO_PATH
from ...training.state import STATE_FILE, checkpoint_path
from .variants import ROWS, START, Training, Variant

_log = logging.getLogger(__name__)

COUNTS: dict[Kind, int] = {
    "motion": 96,
    "conflicting": 96,
    "motion_only": 48,
    "without_text": 16,
    "level": 48,
}
"""Questions of each kind for each variant and seed."""

START_SEED = 0

CFG, SAMPLER = 2.5, "euler"
"""How all answers are sampled. A sampler that draws new noise at every step would replace the noise
that the prior is in."""


@dataclass(frozen=True)
class Study:
    """What a study is made with.

    Args:
        data: Clips, from `python -m livephoto_core.shapes clips`.
        output: Folder of the study.
        start_steps: Of the training that all others start from, as one would start from
            AnimateDiff's motion modules. With 0 they start from nothing, which on a CPU is too
            short for sentences to be followed at all.
        num_steps: Of each other training; the learning rate rises over the first tenth and
            falls over the last third.
        clips_per_step: Over all processes.
        seeds: Of the trainings. The questions are the same for all.
        variants: Rows of the tables.
        num_processes: Of trainings and evaluations on the CPU, each with one thread.
        device: Where the trainings run, "cpu" or "cuda"; there in one process, since processes
            cannot share a GPU. Answers are always measured on the CPU.
        counts: Questions of each kind.
        sampling_steps: Denoising steps of an answer.
        base: File of the tiny base model.
        checkpoint: Its levels and its prior are looked at beside those of the trained variant.
        comfyui: ComfyUI's folder; by default COMFYUI_PATH's.
    """

    data: Path
    output: Path
    start_steps: int = 1500
    num_steps: int = 900
    clips_per_step: int = 16
    seeds: tuple[int, ...] = (0, 1)
    variants: tuple[Variant, ...] = ROWS["all"]
    num_processes: int = 2
    device: str = "cpu"
    counts: dict[Kind, int] = field(default_factory=lambda: {**COUNTS})
    sampling_steps: int = 16
    base: Path = BASE_MODEL_PATH
    checkpoint: Path = LIVEPHOTO_PATH
    comfyui: Path | None = None


def run(study: Study) -> None:
    """Makes whatever of the study is missing.

    Raises:
        ValueError: If the clips a step cannot be shared evenly between the processes that train,
            the folder holds results that were made otherwise, or there is no GPU to train on.
        RuntimeError: If a training fails; what it said is in its folder's `training.log`.
    """
    if study.clips_per_step % _training_processes(study):
        raise ValueError(
            f"--clips-per-step must be a multiple of --processes, got {study.clips_per_step} and "
            f"{study.num_processes}."
        )
    check_settings(study.output, _settings(study))
    if study.start_steps:
        _train(study, START, START_SEED)
    for seed in study.seeds:
        for variant in study.variants:
            path = answers_path(study.output, variant, seed)
            if path.exists():
                continue
            _train(study, variant.training, seed)
            _log.info("Measuring: %s, seed %d.", variant.name, seed)
            options = variant_options(study, variant, seed)
            answers = evaluate(options)
            write_evaluation(path, options, answers)


def variant_options(study: Study, variant: Variant, seed: int) -> EvaluationOptions:
    """How a trained variant is measured."""
    return EvaluationOptions(
        base=study.base,
        livephoto=trained_path(study, variant.training, seed),
        counts=study.counts,
        num_steps=study.sampling_steps,
        cfg=CFG,
        sampler=SAMPLER,
        prior=variant.prior,
        num_processes=study.num_processes,
        comfyui=study.comfyui,
        bf16=True,  # as in the trainings
    )


def answers_path(output: Path, variant: Variant, seed: int) -> Path:
    """Where a variant's figures of one seed lie."""
    slug = re.sub(r"[^a-z0-9]+", "-", variant.name).strip("-")
    return output / f"{slug}-seed{seed}.json"


def training_folder(output: Path, training: Training, seed: int) -> Path:
    """Where a training of one seed lies."""
    return output / f"{training.name}-seed{seed}"


def trained_path(study: Study, training: Training, seed: int) -> Path:
    """The last checkpoint of a training."""
    return checkpoint_path(
        training_folder(study.output, training, seed), _num_steps(study, training)
    )


def _settings(study: Study) -> dict[str, int | str]:
    """By the option to blame; seeds and variants may be added to a study."""
    files = {
        "--base": study.base,
        "--data": study.data / FACTS_FILE,
        "--checkpoint": study.checkpoint,
    }
    return {
        "--steps": study.num_steps,
        "--start-steps": study.start_steps,
        "--clips-per-step": study.clips_per_step,
        "--processes": study.num_processes,
        "--device": study.device,
        "--sampling-steps": study.sampling_steps,
        **{count_option(kind): count for kind, count in study.counts.items()},
        **{f"{option} (its sha256)": file_sha256(path) for option, path in files.items()},
    }


def count_option(kind: Kind) -> str:
    """The command's option for the number of questions of a kind."""
    return f"--{kind.replace('_', '-')}"


def _num_steps(study: Study, training: Training) -> int:
    return study.start_steps if training is START else study.num_steps


def _train(study: Study, training: Training, seed: int) -> None:
    if trained_path(study, training, seed).exists():
        return
    # Where all trainings are there, they may be measured on a machine without a GPU.
    check_device(study.device)
    folder = training_folder(study.output, training, seed)
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
            env=_environment(study),
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"The training of {training.name}, seed {seed}, failed: see {log}.")


def _training_processes(study: Study) -> int:
    return study.num_processes if study.device == "cpu" else 1


def _environment(study: Study) -> dict[str, str]:
    on_cpu = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **(on_cpu if study.device == "cpu" else {})}


def _launcher(study: Study) -> list[str]:
    module = ["-m", "livephoto_core.training"]
    if study.device != "cpu":
        return [sys.executable, *module]
    processes = ["--nproc_per_node", str(study.num_processes)]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", *processes, *module]


def _arguments(study: Study, training: Training, folder: Path, seed: int) -> Iterator[str]:
    if (folder / STATE_FILE).exists():
        yield from ("--resume", str(folder))
        return
    yield from ("--preset", "shapes", "--base", str(study.base))
    yield from ("--data", str(study.data), "--output", str(folder))
    if training is not START and study.start_steps:
        yield from ("--init-from", str(trained_path(study, START, START_SEED)))
    num_steps = _num_steps(study, training)
    settings = {
        "run.seed": seed,
        "run.steps": num_steps,
        "run.batch_size": study.clips_per_step // _training_processes(study),
        "run.save_every": 300,
        "run.sample_every": 0,
        "optimiser.warmup_steps": num_steps // 10,
        "optimiser.cooldown_steps": num_steps // 3,
        "parts.text_adapters": "false",
    }
    for setting in (*(f"{name}={value}" for name, value in settings.items()), *training.settings):
        yield from ("--set", setting)
