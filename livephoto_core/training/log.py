"""The log of a training: lines of text and TensorBoard, in step with the saved state."""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..atomic_files import write_atomically

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_log = logging.getLogger(__name__)

LOG_FILE = "log.txt"
_LINE = re.compile(r"^step=(\d+) ")


class Meter:
    """Means over the steps since the last line of the log."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._start = time.perf_counter()

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Takes the figures of one step, without waiting for the GPU."""
        self._losses.append(loss)
        self._norms.append(norm)

    @property
    def num_steps(self) -> int:
        """Steps so far."""
        return len(self._losses)

    @property
    def seconds(self) -> float:
        """Time so far."""
        return time.perf_counter() - self._start

    @property
    def mean_loss(self) -> Tensor:
        """Of this process's clips."""
        return torch.stack(self._losses).mean()

    @property
    def mean_norm(self) -> Tensor:
        """Of the gradients, before they are scaled down."""
        return torch.stack(self._norms).mean()


def tell_pace(seconds: float, steps_left: int) -> None:
    """Says how long the training will take, going by the seconds that a step took."""
    hours = seconds * steps_left / 3600
    _log.info("%.2g s a step: %.2g hours for the %d that are left.", seconds, hours, steps_left)


class TrainingLog:
    """Writes figures of a step to `log.txt`, to TensorBoard and to the program's log.

    Args:
        folder: Of the training.
        step: Steps done. Figures of later steps, written before a crash, are taken out: the resumed
            run makes them again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / LOG_FILE
        _drop_later_lines(self._path, step)
        self._board: SummaryWriter = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """Adds a line such as `step=100 loss=0.81234567 …`; nine digits give fp32 exactly."""
        line = " ".join([f"step={step}", *(f"{name}={x:.9g}" for name, x in figures.items())])
        _log.info("%s", line)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()

    def close(self) -> None:
        """Ends the TensorBoard file."""
        self._board.close()


def read_log(folder: Path) -> list[dict[str, float]]:
    """The figures of `log.txt`, one mapping a line, `step` among them."""
    lines = (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()
    pairs = [[item.split("=") for item in line.split()] for line in lines if _LINE.match(line)]
    return [{name: float(value) for name, value in line} for line in pairs]


def _drop_later_lines(path: Path, step: int) -> None:
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if (found := _LINE.match(line)) and int(found[1]) <= step]
    write_atomically(path, "".join(f"{line}\n" for line in kept).encode())
