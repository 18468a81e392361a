"""A trained checkpoint as it is shipped: in fp16, with how it was made and what it measured."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch

from ..checkpoints import read_checkpoint, write_checkpoint
from ..training.config import list_options, read_options
from ..training.log import read_log

_COMMAND = "python -m livephoto_core.training train"


def export_livephoto(training: Path, checkpoint: Path, evaluation: Path, output: Path) -> None:
    """Writes the file that the pack ships.

    Args:
        training: Folder of the training, for its options and its log.
        checkpoint: Which of its checkpoints.
        evaluation: What `evaluate --output` wrote about that checkpoint.
        output: The file.
    Raises:
        ValueError: If a file is missing or is not what it should be.
    """
    for name, path in {"--checkpoint": checkpoint, "--evaluation": evaluation}.items():
        if not path.is_file():
            raise ValueError(f"{name}: {path} is not there.")
    source = read_checkpoint(checkpoint)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(
        output,
        source.config,
        {name: tensor.to(torch.float16) for name, tensor in source.state_dict.items()},
        extra_metadata={
            "training": json.dumps(training_record(training)),
            "figures": json.dumps(json.loads(evaluation.read_text())["figures"]),
            "license": "Apache-2.0",
        },
    )


def training_record(training: Path) -> dict[str, object]:
    """Command, seed, clips and time of a training.

    Args:
        training: Its folder.
    Returns:
        `command` without the names of files, `seed`, `num_steps`, `num_clips` and `seconds`, added
        up over the log's lines; `continues`, the record of the file it started from, if it did.
    Raises:
        ValueError: If the folder holds no training.
    """
    config, lines = read_options(training), read_log(training)
    options = [line for line in list_options(config) if not line.startswith("files.")]
    seconds = num_clips = 0.0
    for before, line in pairwise([{"step": 0.0}, *lines]):
        clips = (line["step"] - before["step"]) * line["clips_per_step"]
        num_clips, seconds = num_clips + clips, seconds + clips / line["clips_per_s"]
    record: dict[str, object] = {
        "command": " ".join([_COMMAND, *(f"--set {option}" for option in options)]),
        "seed": config.run.seed,
        "num_steps": int(lines[-1]["step"]),
        "num_clips": round(num_clips),
        "seconds": round(seconds),
        "torch": torch.__version__,
    }
    if config.files.init_from:
        before = read_checkpoint(config.files.init_from).metadata.get("training", "null")
        record["continues"] = json.loads(before)
    return record
