"""The training loop that all parts of the base model share; a resumed run equals an unbroken one.

Every random number of a step comes from (seed, step): nothing but the weights, their average and
the optimizer has to be kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset

from ...training.optimiser import set_learning_rate, update_ema
from .run_folder import append_log, read_state, shorten_log, write_state

Batch = dict[str, Tensor]

_MAX_GRADIENT_NORM = 1.0
_DECAY_SHARE = 0.2
_SEED_STRIDE = 2**32

# What may differ between a run and its continuation.
_CHANGEABLE = ("num_steps", "device", "num_workers", "log_steps", "save_steps", "show_steps")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopOptions:
    """How to train, whatever is trained.

    Args:
        num_steps: Steps in all; a longer run may continue a shorter one.
        batch_size: Pictures per step.
        learning_rate: Of AdamW, after the warm-up; it falls to 0 over the last fifth.
        warmup_steps: Over which the learning rate rises from 0.
        weight_decay: Of AdamW.
        ema_decay: Of the average of the weights, which is the result.
        seed: Of everything random.
        device: "cpu" or "cuda".
        precision: "bf16" trains under autocast, "fp32" does not.
        num_workers: Processes that render ahead; 0 renders between the steps.
        log_steps, save_steps, show_steps: Steps between log lines, checkpoints, example pictures.
    """

    num_steps: int = 1000
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.01
    ema_decay: float = 0.999
    seed: int = 0
    device: str = "cpu"
    precision: Literal["bf16", "fp32"] = "bf16"
    num_workers: int = 1
    log_steps: int = 20
    save_steps: int = 200
    show_steps: int = 1000

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "log_steps", "save_steps", "show_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}.")
        if self.precision not in ("bf16", "fp32"):
            raise ValueError(f"precision must be bf16 or fp32, got {self.precision!r}.")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {self.ema_decay}.")


class Task(Protocol):
    """What is trained.

    Attributes:
        module: Holds the weights; a task's methods are given it or its average.
    """

    module: nn.Module

    def make_batch(self, step: int) -> Batch:
        """What step number `step` learns from; called in worker processes."""
        ...

    def loss(self, module: Any, batch: Batch, generator: torch.Generator) -> Tensor:
        """The loss; noise comes from `generator`, which is on the CPU."""
        ...

    def measure(self, module: Any, batch: Batch) -> dict[str, float]:
        """Figures for the log."""
        ...

    def show(self, module: Any, path: Path) -> None:
        """Writes an example picture."""
        ...


@dataclass(frozen=True)
class TrainedModule:
    """The result of a run.

    Args:
        module: With the averaged weights.
        num_steps: Steps done.
        seconds: Time they took, over all sittings.
        figures: Last line of the log.
    """

    module: nn.Module
    num_steps: int
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)


def train(
    task: Task, options: LoopOptions, folder: Path, *, extra: Mapping[str, Any] | None = None
) -> TrainedModule:
    """Trains to the end, from where an earlier run in the same folder stopped.

    Args:
        task: What to train.
        options: How.
        folder: Gets `state.pt`, `log.jsonl` and example pictures.
        extra: The task's own options, which may not change either.
    Raises:
        ValueError: If the folder holds a run with other options.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(task, options, folder, extra or {})
    for batch in _batches(task.make_batch, range(run.step, options.num_steps), options):
        run.take_step(batch)
    return TrainedModule(run.average, run.step, run.seconds, run.figures)


def learning_rate_at(step: int, options: LoopOptions) -> float:
    """The learning rate of one step: linear warm-up, constant, linear fall to 0."""
    rise = (step + 1) / max(1, options.warmup_steps)
    fall = (options.num_steps - step) / (_DECAY_SHARE * options.num_steps)
    return options.learning_rate * min(1.0, rise, fall)


def _step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step, on the CPU."""
    return torch.Generator().manual_seed(seed * _SEED_STRIDE + step)


class _Run:
    def __init__(
        self, task: Task, options: LoopOptions, folder: Path, extra: Mapping[str, Any]
    ) -> None:
        self.task, self.options, self.folder = task, options, folder
        self._lasting = {**_lasting(options), **extra}
        # Not channels_last: on a CPU, convolutions of so few channels are three times slower there.
        self.module = task.module.to(options.device)
        self.average = deepcopy(self.module).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(),
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.step, self.seconds, self.figures = 0, 0.0, {}
        self._restore()
        self._since = time.monotonic()

    def take_step(self, batch: Batch) -> None:
        options = self.options
        batch = {name: tensor.to(options.device) for name, tensor in batch.items()}
        set_learning_rate(self.optimizer, learning_rate_at(self.step, options))
        generator = _step_generator(options.seed, self.step)
        with _computing(options):
            loss = self.task.loss(self.module, batch, generator)
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), _MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        self.step += 1
        self._report(loss, batch)

    def _update_average(self) -> None:
        # Early on the average would be mostly the random start.
        decay = min(self.options.ema_decay, self.step / (self.step + 10))
        update_ema(
            dict(self.average.named_parameters()), dict(self.module.named_parameters()), decay
        )

    def _report(self, loss: Tensor, batch: Batch) -> None:
        options, is_last = self.options, self.step == self.options.num_steps
        if self.step % options.log_steps == 0 or is_last:
            self._log(loss.item(), batch)
        if self.step % options.show_steps == 0 or is_last:
            with torch.no_grad():
                self.task.show(self.average, self.folder / f"step-{self.step:06d}.png")
        if self.step % options.save_steps == 0 or is_last:
            self._save()

    def _log(self, loss: float, batch: Batch) -> None:
        if loss != loss:
            raise ValueError(
                f"The loss is NaN at step {self.step}. Lower learning_rate, now "
                f"{self.options.learning_rate}, and start again from the last checkpoint."
            )
        with torch.no_grad(), _computing(self.options):
            figures = self.task.measure(self.module, batch)
        steps = self.step - self.figures.get("step", 0)
        seconds = self.seconds + time.monotonic() - self._since
        speed = steps * self.options.batch_size / (seconds - self.figures.get("seconds", 0.0))
        self.figures = {
            "step": self.step,
            "loss": loss,
            **figures,
            "images_per_s": speed,
            "seconds": seconds,
        }
        append_log(self.folder, self.figures)
        _logger.info("%s", "  ".join(f"{name} {value:.5g}" for name, value in self.figures.items()))

    def _save(self) -> None:
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        state = {
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "figures": self.figures,
            "options": self._lasting,
        }
        write_state(self.folder, state)

    def _restore(self) -> None:
        state = read_state(self.folder)
        if state is None:
            shorten_log(self.folder, 0)
            return
        before = state["options"]
        changed = sorted(name for name, it in self._lasting.items() if before.get(name) != it)
        if changed:
            raise ValueError(
                f"{self.folder} holds a run with other {', '.join(changed)}. Give the same options "
                "to continue it, or another folder to start anew."
            )
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.figures = state["figures"]
        shorten_log(self.folder, self.step)


def _lasting(options: LoopOptions) -> dict[str, Any]:
    values = dataclasses.asdict(options)
    return {name: value for name, value in values.items() if name not in _CHANGEABLE}


@contextlib.contextmanager
def _computing(options: LoopOptions) -> Iterator[None]:
    """How forward passes compute: under autocast, and on a CPU without fused attention.

    The fused kernel's backward pass is several times slower there than plain matrix products.
    """
    backends = [SDPBackend.MATH]
    if options.device != "cpu":
        backends += [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    is_bf16 = options.precision == "bf16"
    with sdpa_kernel(backends), torch.autocast(options.device, torch.bfloat16, enabled=is_bf16):
        yield


class _Steps(Dataset[Batch]):
    def __init__(self, make_batch: Callable[[int], Batch]) -> None:
        self._make_batch = make_batch

    def __getitem__(self, step: int) -> Batch:
        return self._make_batch(step)


def _batches(
    make_batch: Callable[[int], Batch], steps: range, options: LoopOptions
) -> Iterable[Batch]:
    return DataLoader(
        _Steps(make_batch),
        batch_size=None,
        sampler=steps,
        num_workers=options.num_workers,
        prefetch_factor=4 if options.num_workers else None,
    )
