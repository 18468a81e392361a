"""A trained checkpoint as it is shipped: in fp16, with how it was made and what it measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..atomic_files import write_atomically
from ..checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from ..file_digest import file_sha256
from ..training.config import OPTIONS_FILE, TrainingConfig, list_options, read_options
from ..training.log import LOG_FILE, read_log
from ..training.state import STEP_ENTRY
from .benchmark import Answer, as_rows, score
from .clips import FACTS_FILE
from .evaluation import EvaluationOptions

_TRAIN = "-m livephoto_core.training train"
_MEASURED_WITH = ("counts", "num_steps", "cfg", "sampler", "prior", "seed", "bf16")
_EVALUATION_ENTRIES = {"options", "sha256", "figures"}


def write_evaluation(path: Path, options: EvaluationOptions, answers: Sequence[Answer]) -> None:
    """Writes an evaluation with all that `export_livephoto` must know of it.

    Args:
        path: JSON: `options`, `sha256` of the checkpoint's file, `figures` and `answers`.
        options: What was evaluated, and how.
        answers: All of them.
    """
    content = {
        "options": {name: getattr(options, name) for name in _MEASURED_WITH},
        "sha256": file_sha256(options.livephoto),
        "figures": score(answers),
        "answers": as_rows(answers),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content, indent=1).encode())


def export_livephoto(training: Path, checkpoint: Path, evaluation: Path, output: Path) -> None:
    """Writes the file that the pack ships.

    Args:
        training: Folder of the training, for its options and its log.
        checkpoint: Which of its checkpoints.
        evaluation: What `evaluate --output` wrote about that checkpoint.
        output: The file.
    Raises:
        ValueError: If a file is missing, is not what it should be, or does not belong to the
            checkpoint.
    """
    for name, path in (
        ("--training", training / OPTIONS_FILE),
        ("--training", training / LOG_FILE),
        ("--checkpoint", checkpoint),
        ("--evaluation", evaluation),
    ):
        if not path.is_file():
            raise ValueError(f"{name}: {path} is not there.")
    source, measured = read_checkpoint(checkpoint), _read_evaluation(evaluation, checkpoint)
    record = training_record(training, _step(source, checkpoint))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(
        output,
        source.config,
        {name: tensor.to(torch.float16) for name, tensor in source.state_dict.items()},
        extra_metadata={
            "training": json.dumps(record),
            "figures": json.dumps(measured["figures"]),
            "evaluation": json.dumps(measured["options"]),
            "license": "Apache-2.0",
        },
    )


def training_record(training: Path, num_steps: int) -> dict[str, object]:
    """Command, seed, clips and time of a training up to one of its checkpoints.

    Args:
        training: Its folder.
        num_steps: After how many steps the checkpoint was written.
    Returns:
        `command` without the names of files, `num_processes` it ran in, `seed`, `num_steps`,
        `num_clips` and `seconds`, added up over the log's lines; `data`, seed and number of the
        different clips, if their folder is still there; `continues`, the record of the file it
        started from, if it did.
    Raises:
        ValueError: If the folder holds no training, or its log does not reach the step.
    """
    config = read_options(training)
    # A line of the validation tells of no steps.
    lines = [it for it in read_log(training) if it["step"] <= num_steps and "clips_per_step" in it]
    if not lines:
        raise ValueError(
            f"--training: {training / LOG_FILE} has no line up to step {num_steps}, which "
            "--checkpoint was written after. Give the folder that --checkpoint is from."
        )
    num_processes = _num_processes(config, lines[-1])
    num_clips, seconds = _clips_and_seconds(lines, num_steps)
    record: dict[str, object] = {
        "command": _command(config, num_processes),
        "num_processes": num_processes,
        "seed": config.run.seed,
        "num_steps": num_steps,
        "num_clips": round(num_clips),
        "seconds": round(seconds),
        "torch": torch.__version__,
    }
    if data := _data_record(config):
        record["data"] = data
    if config.files.init_from:
        before = read_checkpoint(config.files.init_from).metadata.get("training", "null")
        record["continues"] = json.loads(before)
    return record


def _read_evaluation(path: Path, checkpoint: Path) -> dict[str, Any]:
    again = (
        "Run `python -m livephoto_core.shapes evaluate` with --livephoto set to that checkpoint, "
        "and give --evaluation what its --output writes."
    )
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"--evaluation: {path} is not JSON ({error}). {again}") from error
    if not isinstance(content, dict) or not content.keys() >= _EVALUATION_ENTRIES:
        raise ValueError(
            f"--evaluation: {path} does not say which file it is of, so not whether that is "
            f"--checkpoint {checkpoint}. {again}"
        )
    if content["sha256"] != file_sha256(checkpoint):
        raise ValueError(
            f"--evaluation: {path} is of another file than --checkpoint {checkpoint}. {again}"
        )
    return content


def _step(source: Checkpoint, path: Path) -> int:
    step = source.metadata.get(STEP_ENTRY)
    if step is None:
        raise ValueError(
            f"--checkpoint: {path} does not say after which step of a training it was written. "
            "Give a file of the training's folder `checkpoints`."
        )
    return int(step)


def _num_processes(config: TrainingConfig, line: dict[str, float]) -> int:
    return round(line["clips_per_step"] / (config.run.batch_size * config.run.accumulation))


def _command(config: TrainingConfig, num_processes: int) -> str:
    launcher = f"-m torch.distributed.run --nproc_per_node {num_processes} "
    options = [line for line in list_options(config) if not line.startswith("files.")]
    sets = " ".join(f"--set {option}" for option in options)
    return f"python {launcher if num_processes > 1 else ''}{_TRAIN} {sets}"


def _clips_and_seconds(lines: list[dict[str, float]], num_steps: int) -> tuple[float, float]:
    """Up to a step. What a line says holds for the steps before it, the last line's to the end."""
    ends = [*(line["step"] for line in lines[:-1]), num_steps]
    num_clips = seconds = start = 0.0
    for line, end in zip(lines, ends, strict=True):
        clips = (end - start) * line["clips_per_step"]
        num_clips, seconds = num_clips + clips, seconds + clips / line["clips_per_s"]
        start = end
    return num_clips, seconds


def _data_record(config: TrainingConfig) -> dict[str, object]:
    if config.files.data is None or not (path := Path(config.files.data, FACTS_FILE)).is_file():
        return {}
    facts = json.loads(path.read_bytes())
    return {name: facts[name] for name in ("seed", "num_clips", "favoured") if name in facts}
