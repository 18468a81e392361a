"""The training loop, for one process or many (accelerate, DDP)."""

from __future__ import annotations

import contextlib
import logging
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor

from ..atomic_files import remove_leftovers
from ..comfyui.training_unet import TrainingUNet, unload_models
from ..models.livephoto import LivePhoto
from .config import TrainingConfig, write_options
from .data import Clips, Numbers, prefetch
from .ingredients import Ingredients, Snapshot, make_parts
from .log import Meter, TrainingLog, tell_pace
from .loss import ClipLoss, Draws, draw
from .optimiser import make_optimiser, set_learning_rate, update_ema
from .parts import freeze, trainable
from .state import STATE_FILE, Progress, SavedState, checkpoint_path, save_checkpoint, save_state
from .stop_signals import StopRequest, TrainingStopped, watch_signals
from .validation import validation_loss, with_weights

_log = logging.getLogger(__name__)


def train(config: TrainingConfig, ingredients: Ingredients, *, resume: bool = False) -> Path:
    """Trains until `run.steps` and returns the folder of the training.

    Args:
        config: All options; of `files` only `output` is used here.
        ingredients: Base model, clips and so on.
        resume: Whether to go on from the state saved in `files.output`.
    Raises:
        ValueError: If options, model, clips and initial checkpoint do not fit each other; nothing
            is written then.
        FloatingPointError: If the gradients are no longer numbers.
        TrainingStopped: If a signal asked it to stop; the state is saved then.
    """
    training = Training(config, ingredients, resume=resume)
    try:
        training.run()
    finally:
        training.close()
    return training.folder


class Training:
    """A training, set up and ready to run; see `train`."""

    def __init__(
        self, config: TrainingConfig, ingredients: Ingredients, *, resume: bool = False
    ) -> None:
        config.check()
        _warn_of_warmup(config)
        _check_bf16(config)
        self.config, self.clips = config, ingredients.clips
        self.folder = _output_folder(config, resume=resume)
        self._make_samples, self._validation = ingredients.make_samples, ingredients.validation
        saved = SavedState(self.folder) if resume else None
        parts = make_parts(config, ingredients, saved and saved.config)
        # The loop casts by itself, so that the network in training stays the module it is.
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision="no",
            kwargs_handlers=[
                DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
            ],
        )
        self._set_up(parts, ingredients)
        self.progress = Progress()
        if saved is not None:
            self._restore(saved)
        self._log: TrainingLog | None = None
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not resume:
                self._warn_of_full_disk()
            for written in (self.folder, checkpoint_path(self.folder, 0).parent):
                remove_leftovers(written)
            write_options(self.folder, config)
            self._log = TrainingLog(self.folder, self.progress.step)

    def run(self) -> None:
        """All steps that are left.

        Raises:
            TrainingStopped: After SIGTERM or Ctrl-C, to any process: the step is done, and saved.
        """
        with watch_signals() as asked:
            self._run(asked)

    def _run(self, asked: StopRequest) -> None:
        options = self.config.run
        batches = prefetch(self.clips, self._numbers(), num_threads=options.num_threads)
        meter, first = Meter(), self.progress.step
        self._make_up_for_the_checkpoint()
        with contextlib.closing(batches):
            while self.progress.step < options.steps:
                started = time.perf_counter()
                self._step(batches, meter)
                step = self.progress.step
                if step == first + 2:  # the first one warms up
                    tell_pace(time.perf_counter() - started, options.steps - step)
                if step % options.log_every == 0:
                    self._write_log(meter)
                    meter = Meter()
                if step % options.save_every == 0 or step == options.steps:
                    self._validate(asked)
                    self.save()
                if options.sample_every and step % options.sample_every == 0:
                    self._sample(asked)
                if step < options.steps and self._is_anyone(asked):
                    self.save()
                    raise TrainingStopped(self.folder, step, asked.signal)

    def save(self) -> None:
        """Writes the state and a checkpoint, from the first process.

        First what nothing else can replace: a disk may be full, and launchers kill what still runs
        half a minute after they asked it to stop.
        """
        if self.accelerator.is_main_process:
            folder, progress, parts, ema = self.folder, self.progress, self.parts, self.ema
            save_state(folder, progress, parts=parts, ema=ema, optimiser=self._optimiser)
            self._save_checkpoint()
        self.accelerator.wait_for_everyone()

    def _save_checkpoint(self) -> None:
        step, keep = self.progress.step, self.config.run.keep_checkpoints
        save_checkpoint(self.folder, step, parts=self.parts, ema=self.ema, keep=keep)

    def _make_up_for_the_checkpoint(self) -> None:
        """Writes that of the state a training goes on from, if it ended between the two."""
        is_written = checkpoint_path(self.folder, self.progress.step).is_file()
        if self.progress.step and not is_written and self.accelerator.is_main_process:
            self._save_checkpoint()
        self.accelerator.wait_for_everyone()

    def close(self) -> None:
        """Ends the log."""
        if self._log is not None:
            self._log.close()

    def _set_up(self, parts: LivePhoto, ingredients: Ingredients) -> None:
        options, device = self.config.run, self.accelerator.device
        freeze(parts, self.config.parts.frozen)
        unet = TrainingUNet(
            ingredients.model,
            parts,
            device=device,
            recompute=options.recompute,
            bf16=options.bf16,
        )
        unload_models()  # the base in fp32, which ComfyUI may have put on the GPU
        encoder = ingredients.encoder and ingredients.encoder[1].float()
        self.loss = ClipLoss(
            unet,
            encoder=encoder,
            facts=self.clips.facts,
            bf16=options.bf16,
            weight_exponent=self.config.noise.weight_exponent,
        )
        self.parts, self.trained = parts, trainable(parts)
        self.ema = {name: p.detach().clone() for name, p in self.trained.items()}
        self._optimiser = make_optimiser(self.config.optimiser, self.trained.values())
        self._model: Any = self.accelerator.prepare(self.loss)
        count = sum(parameter.numel() for parameter in self.trained.values())
        _log.info(
            "%.1f million parameters train on %s, %d clips a step.",
            count / 1e6,
            device,
            self._clips_per_step,
        )

    def _restore(self, saved: SavedState) -> None:
        saved.restore_parts(self.parts)
        saved.restore_ema(self.ema)
        saved.restore_optimiser(self._optimiser, self.trained)
        self.progress = saved.progress

    def _warn_of_full_disk(self) -> None:
        options, parameters = self.config.run, self.parts.state_dict().values()
        checkpoint = 4 * sum(tensor.numel() for tensor in parameters)
        state = checkpoint + 3 * 4 * sum(tensor.numel() for tensor in self.trained.values())
        saves = math.ceil(options.steps / options.save_every)
        num_checkpoints = min(options.keep_checkpoints or saves, saves)
        # While it is replaced there are two states.
        needed = num_checkpoints * checkpoint + state * min(saves, 2)
        if (free := shutil.disk_usage(self.folder).free) < needed:
            _log.warning(
                "files.output: %s has %.3g GB left, this training fills up to %.3g GB. Make room, "
                "give another folder, or lower run.keep_checkpoints.",
                self.folder,
                free / 1e9,
                needed / 1e9,
            )

    @property
    def _clips_per_step(self) -> int:
        options = self.config.run
        return options.batch_size * options.accumulation * self.accelerator.num_processes

    def _numbers(self) -> Iterator[Numbers]:
        """Numbers of the clips in each batch of this process, from where the training stands.

        The batches of all processes lie next to each other: as many clips a step give the same
        step, however they are split.
        """
        size = self.config.run.batch_size
        stride = size * self.accelerator.num_processes
        first = self.progress.clips_seen + size * self.accelerator.process_index
        num_batches = (self.config.run.steps - self.progress.step) * self.config.run.accumulation
        for index in range(num_batches):
            yield range(first + index * stride, first + index * stride + size)

    def _step(self, batches: Iterator[tuple[Numbers, Clips]], meter: Meter) -> None:
        options, step = self.config.optimiser, self.progress.step
        set_learning_rate(self._optimiser, self._learning_rate_at(step))
        loss = self._gradients(batches)
        parameters = list(self.trained.values())
        norm = torch.nn.utils.clip_grad_norm_(parameters, options.max_grad_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"step {step + 1}: the gradients are no longer numbers. Resume with a lower "
                "optimiser.learning_rate, or with run.bf16=false."
            )
        self._optimiser.step()
        # With several processes gradients lie in DDP's own memory, where they are summed.
        self._optimiser.zero_grad(set_to_none=self.accelerator.num_processes == 1)
        update_ema(self.ema, self.trained, options.ema_decay_after(step + 1))
        self.progress = Progress(step + 1, self.progress.clips_seen + self._clips_per_step)
        meter.add(loss, norm)

    def _learning_rate_at(self, step: int) -> float:
        return self.config.optimiser.learning_rate_at(step, self.config.run.steps)

    def _gradients(self, batches: Iterator[tuple[Numbers, Clips]]) -> Tensor:
        """Mean loss of this process's clips of a step, after their backward pass."""
        num_batches = self.config.run.accumulation
        losses = []
        for index in range(num_batches):
            self._batch = self._with_draws(*next(batches))
            is_last = index == num_batches - 1
            # DDP sums gradients over processes in the last backward pass only.
            sync = contextlib.nullcontext() if is_last else self.accelerator.no_sync(self._model)
            with sync:
                loss = self._model(*self._batch).mean() / num_batches
                self.accelerator.backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _with_draws(self, numbers: Numbers, clips: Clips) -> tuple[Clips, Draws]:
        draws = draw(
            self.config.noise,
            seed=self.config.run.seed,
            numbers=numbers,
            shape=clips.latents.shape[1:],
        )
        device = self.accelerator.device
        return clips.to(device), draws.to(device)

    def _is_anyone(self, asked: StopRequest) -> bool:
        """Whether any process was asked to stop: all of them save, or none."""
        if self.accelerator.num_processes == 1:
            return bool(asked.signal)
        number = torch.tensor(asked.signal, device=self.accelerator.device)
        return bool(cast("Tensor", self.accelerator.reduce(number, reduction="sum")).item())

    def _write_log(self, meter: Meter) -> None:
        step, every = self.progress.step, self.config.run.sensitivity_every
        loss = cast("Tensor", self.accelerator.reduce(meter.mean_loss, reduction="mean")).item()
        if self._log is None:
            return
        figures = {
            "loss": loss,
            "grad_norm": meter.mean_norm.item(),
            "learning_rate": self._learning_rate_at(step - 1),
            "clips_per_step": self._clips_per_step,
            "clips_per_s": meter.num_steps * self._clips_per_step / meter.seconds,
        }
        if every and step % every == 0:
            figures["text_sensitivity"] = self.loss.text_sensitivity(*self._batch)
        self._log.write(step, figures)

    def _validate(self, asked: StopRequest) -> None:
        """Before the state is saved: what is killed in between does it again."""
        if self._validation is None or self._is_anyone(asked):
            return
        with with_weights(self.trained, self.ema):
            loss = validation_loss(self.loss, self._validation, self.config, self.accelerator)
        if self._log is not None:
            self._log.write(self.progress.step, {"validation_loss": loss})

    def _sample(self, asked: StopRequest) -> None:
        if self._make_samples is not None and self.accelerator.is_main_process and not asked.signal:
            weights = {**self.parts.state_dict(), **self.ema}
            weights = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
            step, config = self.progress.step, self.parts.config
            try:
                self._make_samples(Snapshot(step, config, weights, self.folder))
            except Exception:
                # Pictures to look at are not worth a training: memory or a disk may be full.
                _log.exception("No samples of step %d; the training goes on.", step)
        self.accelerator.wait_for_everyone()


def _warn_of_warmup(config: TrainingConfig) -> None:
    if config.run.steps < config.optimiser.warmup_steps:
        _log.warning(
            "run.steps=%d ends within optimiser.warmup_steps=%d: the learning rate will not reach "
            "its value, unless the training is resumed with more steps.",
            config.run.steps,
            config.optimiser.warmup_steps,
        )


def _check_bf16(config: TrainingConfig) -> None:
    # Older GPUs emulate it, slower than they compute in fp32.
    is_asked = config.run.bf16 and torch.cuda.is_available()
    if is_asked and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ValueError("run.bf16: this GPU does not compute in bf16. Set run.bf16=false.")


def _output_folder(config: TrainingConfig, *, resume: bool) -> Path:
    if not config.files.output:
        raise ValueError("files.output is needed: give --set files.output=FOLDER.")
    folder = Path(config.files.output)
    if not resume and (folder / STATE_FILE).exists():
        raise ValueError(
            f"files.output: {folder} already holds a training. Give --resume {folder} to go on "
            "with it, or another folder."
        )
    return folder
