"""Files of a running training: checkpoints to use, and the state to go on from.

| file | content |
|---|---|
| `options.txt` | all options, in the form `--set` takes |
| `checkpoints/step-00000500.safetensors` | averaged weights, as Load LivePhoto reads them |
| `state.safetensors` | raw and averaged weights, optimiser, counters: the last save only |

Every file is replaced in one step; after a crash there is the old one or the whole new one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoints import CheckpointError, write_checkpoint
from ..checkpoints.config_metadata import decode_config, encode_config
from ..checkpoints.safetensors_writer import write_safetensors
from ..checkpoints.weight_file import WeightFile, open_weight_file
from ..models.config import LivePhotoConfig
from ..models.livephoto import LivePhoto
from .parts import trainable

_log = logging.getLogger(__name__)

STATE_FILE = "state.safetensors"
STEP_ENTRY = "training.step"
"""Entry of a checkpoint's metadata: after how many optimiser steps it was written."""

_CONFIG = "config."
_STEP, _CLIPS_SEEN = "step", "clips_seen"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Args:
        step: Optimiser steps done.
        clips_seen: Clips used so far, over all processes; the number of the next clip.
    """

    step: int = 0
    clips_seen: int = 0


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the native checkpoint of a step lies in a training's folder."""
    return folder / "checkpoints" / f"step-{step:08d}.safetensors"


def save_checkpoint(
    folder: Path, step: int, *, parts: LivePhoto, ema: Mapping[str, Tensor], keep: int
) -> Path:
    """Writes the averaged weights in the native format, and removes the oldest ones.

    Args:
        folder: Of the training.
        step: Optimiser steps done.
        parts: For the weights that do not train.
        ema: Averaged weights.
        keep: How many checkpoints to leave; 0 leaves all.
    """
    path = checkpoint_path(folder, step)
    path.parent.mkdir(exist_ok=True)
    write_checkpoint(
        path,
        parts.config,
        {**parts.state_dict(), **ema},
        extra_metadata={STEP_ENTRY: str(step)},
    )
    if keep:
        _remove_outdated(path, keep)
    return path


def _remove_outdated(path: Path, keep: int) -> None:
    """Leaves `keep` checkpoints up to this one; what another training left later stays."""
    saved = [it for it in sorted(path.parent.glob("step-*.safetensors")) if it.name <= path.name]
    for outdated in saved[:-keep]:
        try:
            outdated.unlink(missing_ok=True)
        except OSError as error:  # on Windows, while something else has it open
            _log.warning("The outdated checkpoint %s could not be removed: %s", outdated, error)


def save_state(
    folder: Path,
    progress: Progress,
    *,
    parts: LivePhoto,
    ema: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Writes all that is needed to go on as if nothing had happened."""
    tensors = {f"weights.{name}": tensor for name, tensor in parts.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in ema.items()}
    for name, parameter in trainable(parts).items():
        for moment in _MOMENTS:
            tensors[f"{moment}.{name}"] = optimiser.state[parameter][moment]
    metadata = {_STEP: str(progress.step), _CLIPS_SEEN: str(progress.clips_seen)}
    metadata |= {_CONFIG + name: text for name, text in encode_config(parts.config).items()}
    write_safetensors(folder / STATE_FILE, tensors, metadata)


class SavedState:
    """The state that `save_state` wrote.

    Args:
        folder: Of the training.
    Raises:
        ValueError: If there is none, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._file = _open(folder / STATE_FILE)
        metadata = self._file.metadata
        try:
            self.progress = Progress(int(metadata[_STEP]), int(metadata[_CLIPS_SEEN]))
            self.config: LivePhotoConfig = decode_config(
                {
                    name.removeprefix(_CONFIG): text
                    for name, text in metadata.items()
                    if name.startswith(_CONFIG)
                }
            )
        except (KeyError, ValueError) as error:
            raise ValueError(f"files.output: {STATE_FILE} is damaged ({error}).") from error

    def restore_parts(self, parts: LivePhoto) -> None:
        """Puts the raw weights into `parts`."""
        parts.load_state_dict({name: self._load("weights", name) for name in parts.state_dict()})

    def restore_ema(self, ema: Mapping[str, Tensor]) -> None:
        """Puts the averaged weights into `ema`."""
        for name, tensor in ema.items():
            tensor.copy_(self._load("ema", name))

    def restore_optimiser(
        self, optimiser: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
    ) -> None:
        """Puts AdamW's moments back."""
        for name, parameter in parameters.items():
            moments = {moment: self._load(moment, name) for moment in _MOMENTS}
            optimiser.state[parameter] = {
                moment: tensor.to(parameter.device) for moment, tensor in moments.items()
            }

    def _load(self, kind: str, name: str) -> Tensor:
        if f"{kind}.{name}" not in self._file.tensors:
            raise ValueError(
                f"files.output: {STATE_FILE} has no {kind} of {name}: it belongs to a training of "
                "other parts. Resume with the options of parts it was started with."
            )
        # A copy: the tensors of the file are mapped, and the file is replaced at the next save.
        return self._file.load(f"{kind}.{name}").clone()


def _open(path: Path) -> WeightFile:
    if not path.is_file():
        raise ValueError(
            f"files.output: {path.parent} has no {STATE_FILE} to resume from. Start the training "
            "without --resume."
        )
    try:
        return open_weight_file(path)
    except CheckpointError as error:
        raise ValueError(f"files.output: {error}") from error
