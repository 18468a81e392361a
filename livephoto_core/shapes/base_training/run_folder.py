"""What a training run keeps: its last checkpoint and its log."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch

from ...atomic_files import write_atomically

_STATE, _LOG = "state.pt", "log.jsonl"


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Replaces the checkpoint in one step: after a crash there is the old one or the new one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(folder / _STATE, buffer.getvalue())


def read_state(folder: Path) -> dict[str, Any] | None:
    """The last checkpoint of a run, on the CPU; `None` if there is none yet."""
    path = folder / _STATE
    if not path.is_file():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)


def append_log(folder: Path, figures: dict[str, float]) -> None:
    """Adds a line to the log."""
    with (folder / _LOG).open("a") as file:
        file.write(json.dumps(figures) + "\n")


def shorten_log(folder: Path, num_steps: int) -> None:
    """Drops what was logged after the checkpoint that a run continues from."""
    path = folder / _LOG
    if path.is_file():
        # The last line may have been cut off.
        lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
        kept = [line for line in lines if json.loads(line)["step"] <= num_steps]
        write_atomically(path, "".join(f"{line}\n" for line in kept).encode())
