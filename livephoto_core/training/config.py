"""All options of a training, from presets, the command line and files.

An option is written as `group.name=value`; the groups are declared beside what they configure.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from ..atomic_files import write_atomically
from ..shapes.base_model import is_base_model
from .loss import NoiseOptions
from .optimiser import OptimiserOptions
from .parts import PartsOptions

OPTIONS_FILE = "options.txt"
_NONE = "none"


@dataclass(frozen=True)
class FileOptions:
    """What a training reads and writes.

    Args:
        data: Folder of prepared clips.
        base: SD-1.5 checkpoint; its UNet stays frozen.
        output: Folder for checkpoints, log, samples and state.
        content_encoder: DINOv2 weights, for content tokens.
        init_from: AnimateDiff, PIA or LivePhoto file to start from.
        validation: Folder of prepared clips that are not trained on, for a second loss in the log.
    """

    data: str | None = None
    base: str | None = None
    output: str | None = None
    content_encoder: str | None = None
    init_from: str | None = None
    validation: str | None = None

    def check(self, *, resume: bool = False) -> None:
        """Raises ValueError naming the option that is missing or leads nowhere.

        Args:
            resume: Whether the training has begun: it needs `init_from` no more.
        """
        for name in ("data", "base", "output"):
            if not getattr(self, name):
                raise ValueError(f"files.{name} is needed: give --set files.{name}=PATH.")
        needed = (
            "data",
            "base",
            "content_encoder",
            "validation",
            *(() if resume else ("init_from",)),
        )
        for name in needed:
            path = getattr(self, name)
            if path is not None and not Path(path).exists():
                raise ValueError(f"files.{name}: {path} does not exist.")


@dataclass(frozen=True)
class RunOptions:
    """How the loop runs.

    Args:
        steps: Optimiser steps of the whole training.
        batch_size: Clips that pass through the UNet together, per process.
        accumulation: Batches whose gradients make one step.
        bf16: Compute in bf16; the weights that train stay fp32.
        recompute: Keep less for the backward pass and compute it again (gradient checkpointing):
            about 40 % slower, a fraction of the memory.
        seed: Of new weights, order of clips, noise and text drop.
        log_every: Steps between lines of the log.
        sensitivity_every: Steps between measurements of the text sensitivity; 0 for none.
        save_every: Steps between checkpoints; `files.validation` is looked at as often.
        validation_clips: How many clips of `files.validation` to look at.
        keep_checkpoints: How many to keep; 0 keeps all.
        sample_every: Steps between sample videos; 0 for none.
        sample_cfg: Guidance scale of the sample videos.
        num_threads: Threads that load clips.
    """

    steps: int = 10_000
    batch_size: int = 4
    accumulation: int = 1
    bf16: bool = True
    recompute: bool = False
    seed: int = 0
    log_every: int = 10
    sensitivity_every: int = 50
    save_every: int = 500
    validation_clips: int = 256
    keep_checkpoints: int = 5
    sample_every: int = 500
    sample_cfg: float = 7.5
    num_threads: int = 2

    def check(self) -> None:
        """Raises ValueError naming the option that is out of range."""
        counts = "steps", "batch_size", "accumulation", "log_every", "save_every"
        for name in (*counts, "validation_clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"run.{name} must be 1 or more, got {getattr(self, name)}.")
        for name in (
            "seed",
            "sensitivity_every",
            "keep_checkpoints",
            "sample_every",
            "num_threads",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"run.{name} must be 0 or more, got {getattr(self, name)}.")
        if not 0 < self.sample_cfg < float("inf"):
            raise ValueError(f"run.sample_cfg must be above 0, got {self.sample_cfg}.")
        for name in ("save_every", "sensitivity_every"):
            # So that a resumed run averages its log over the same steps, and logs what it measures.
            if getattr(self, name) % self.log_every:
                raise ValueError(
                    f"run.{name} must be a multiple of run.log_every ({self.log_every}), got "
                    f"{getattr(self, name)}."
                )


@dataclass(frozen=True)
class TrainingConfig:
    """All options."""

    files: FileOptions = field(default_factory=FileOptions)
    parts: PartsOptions = field(default_factory=PartsOptions)
    noise: NoiseOptions = field(default_factory=NoiseOptions)
    optimiser: OptimiserOptions = field(default_factory=OptimiserOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def check(self) -> None:
        """Raises ValueError naming the option to change, for all that can be known from options."""
        for group in (self.parts, self.noise, self.optimiser, self.run):
            group.check()
        if self.parts.frozen and self.files.init_from is None:
            raise ValueError(
                f"parts.frozen: {', '.join(self.parts.frozen)} would stay without any training. "
                "Give files.init_from, or take it out of parts.frozen."
            )
        self._check_learning_rate()

    def _check_learning_rate(self) -> None:
        warmup, cooldown = self.optimiser.warmup_steps, self.optimiser.cooldown_steps
        # Without a cool-down the learning rates do not depend on run.steps: a training that ends
        # within its warm-up is the beginning of a longer one, and can be resumed as such.
        if cooldown and warmup + cooldown > self.run.steps:
            raise ValueError(
                f"optimiser.warmup_steps ({warmup}) and optimiser.cooldown_steps ({cooldown}) do "
                f"not fit into run.steps={self.run.steps}: the learning rate would never reach its "
                f"value. Set run.steps to {warmup + cooldown} or more, or optimiser.cooldown_steps "
                f"to {max(0, self.run.steps - warmup)} or less."
            )

    def check_files(self, *, resume: bool = False) -> None:
        """Raises ValueError naming the option to change, for a training from files."""
        self.files.check(resume=resume)
        assert self.files.base, "just checked"
        is_tiny_base = is_base_model(self.files.base)
        if is_tiny_base and self.files.content_encoder is not None:
            raise ValueError(
                "files.content_encoder is given, but files.base brings one of its own. Drop it."
            )
        needs_encoder = self.parts.content_encoder and not is_tiny_base
        if needs_encoder and self.files.content_encoder is None:
            raise ValueError(
                "files.content_encoder is needed for content tokens: give a DINOv2 file, or set "
                "parts.content_encoder=false."
            )
        if not self.parts.content_encoder and self.files.content_encoder is not None:
            raise ValueError(
                "files.content_encoder is given, but parts.content_encoder is false. Drop one."
            )


_GROUPS = tuple(group.name for group in dataclasses.fields(TrainingConfig))


def set_options(config: TrainingConfig, assignments: Iterable[str]) -> TrainingConfig:
    """A config with options set.

    Args:
        config: Where to start from.
        assignments: Such as "noise.timestep_low=300"; tuples as "parts.frozen=motion,input", no
            value as "none".
    Raises:
        ValueError: Naming the option that is unknown or has a value of the wrong type.
    """
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        group_name, _, option = name.strip().partition(".")
        group = getattr(config, group_name, None)
        hints = get_type_hints(type(group)) if group_name in _GROUPS else {}
        if not sign or option not in hints:
            raise ValueError(
                f"{assignment!r} sets no option. Write group.name=value; options are "
                f"{', '.join(line.partition('=')[0] for line in list_options(config))}."
            )
        value = _parse(hints[option], text.strip(), name.strip())
        group = dataclasses.replace(cast("Any", group), **{option: value})
        config = dataclasses.replace(config, **{group_name: group})
    return config


def list_options(config: TrainingConfig) -> list[str]:
    """All options as assignments that `set_options` takes."""
    return [
        f"{group.name}.{option.name}={_format(getattr(getattr(config, group.name), option.name))}"
        for group in dataclasses.fields(config)
        for option in dataclasses.fields(getattr(config, group.name))
    ]


def write_options(folder: Path, config: TrainingConfig) -> None:
    """Writes `options.txt`."""
    text = "".join(f"{line}\n" for line in list_options(config))
    write_atomically(folder / OPTIONS_FILE, text.encode())


def read_options(folder: Path) -> TrainingConfig:
    """The options a training was started with.

    Raises:
        ValueError: If the folder holds no training.
    """
    path = folder / OPTIONS_FILE
    if not path.is_file():
        raise ValueError(f"--resume: {folder} holds no training ({OPTIONS_FILE} is not there).")
    return set_options(TrainingConfig(), path.read_text(encoding="utf-8").splitlines())


def _format(value: Any) -> str:
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _parse(annotation: Any, text: str, name: str) -> Any:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return None if text.lower() == _NONE else _parse(inner, text, name)
    if origin is tuple:
        return tuple(_parse(args[0], item.strip(), name) for item in text.split(",") if item)
    if origin is Literal:
        return _choice(dict(zip(args, args, strict=True)), text, name)
    if annotation is bool:
        return _choice({"true": True, "false": False}, text.lower(), name)
    try:
        return annotation(text)
    except ValueError as error:
        kind = {int: "a whole number", float: "a number"}[annotation]
        raise ValueError(f"{name} must be {kind}, got {text!r}.") from error


def _choice(choices: dict[str, Any], text: str, name: str) -> Any:
    if text not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {text!r}.")
    return choices[text]
