"""AnimateDiff motion LoRAs: reading them and merging them into motion weights."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .errors import CheckpointError
from .foreign_files import ForeignFile
from .motion_names import animatediff_names
from .recognise import recognise, wrong_file
from .safetensors_header import TensorInfo
from .validation import check_finite
from .weight_file import FLOAT_DTYPES, WeightFile, open_weight_file

_WANTED = "a motion LoRA"
_MIDDLE = "motion.mid_block."

# AnimateDiff: attention_blocks.0.processor.to_q_lora.down.weight, and likewise to_out;
# diffusers: unet.….attn1.processor.to_q_lora.down.weight or ….attn1.to_q.lora_A.weight.
_NAME = re.compile(
    r"^(?:module\.|unet\.)?(?P<place>.+\.motion_modules\.\d+\..+\.(?:attention_blocks\.[01]|attn[12]))\.(?:processor\.)?"
    r"(?P<projection>to_q|to_k|to_v|to_out)(?:\.0)?"
    r"(?:[._]lora\.(?P<side>down|up)|\.lora_(?P<letter>[AB]))\.weight$"
)
_DOWN = ("down", "A")


@dataclass(frozen=True)
class MotionLora:
    """Low-rank changes of the temporal attention.

    Args:
        name: Of the file, for messages.
        factors: (up, down) by the name of the weight they change, as in `LivePhoto.state_dict()`;
            up is (c r), down (r c).
    """

    name: str
    factors: Mapping[str, tuple[Tensor, Tensor]]


def read_motion_lora(path: str | os.PathLike[str]) -> MotionLora:
    """Reads an AnimateDiff motion LoRA, in AnimateDiff's or diffusers' naming.

    Raises:
        CheckpointError: If the file is something else, incomplete or damaged.
    """
    file = open_weight_file(path)
    found = recognise(file)
    if isinstance(found, ForeignFile):
        raise wrong_file(file, found, _WANTED)
    if found != "motion LoRA":
        motion_model = ForeignFile("a motion model", "choose it as the file of Load LivePhoto")
        raise wrong_file(file, motion_model, _WANTED)
    names = _pair_up(file)
    _check_pairs(file, names)
    loaded = {stored: file.load(stored) for pair in names.values() for stored in pair}
    check_finite(file.path, loaded)
    return MotionLora(
        file.path.name, {ours: (loaded[up], loaded[down]) for ours, (up, down) in names.items()}
    )


def merge_motion_lora(
    state_dict: Mapping[str, Tensor], lora: MotionLora, strength: float
) -> dict[str, Tensor]:
    """Motion weights with a motion LoRA merged in: W + strength · up · down.

    Args:
        state_dict: Of `LivePhoto`; not changed.
        lora: What to merge; its changes of the middle block are left out where the model has no
            motion module there, as AnimateDiff does.
        strength: Any finite number; 1 is as trained, negative reverses the movement.
    Returns:
        All of `state_dict`; weights that the LoRA does not change are the same tensors.
    Raises:
        ValueError: If the strength is not finite.
        CheckpointError: If the LoRA does not fit the weights.
    """
    if not math.isfinite(strength):
        raise ValueError(f"strength must be a finite number, not {strength}.")
    merged = dict(state_dict)
    has_middle = any(name.startswith(_MIDDLE) for name in state_dict)
    for name, (up, down) in lora.factors.items():
        if name.startswith(_MIDDLE) and not has_middle:
            continue
        _check_fits(lora, name, state_dict.get(name))
        # In fp32: a product of two fp16 factors loses more than the sum does.
        weight = state_dict[name]
        delta = up.to(weight.device).float() @ down.to(weight.device).float()
        merged[name] = (weight.float() + strength * delta).to(weight.dtype)
    return merged


def _pair_up(file: WeightFile) -> dict[str, tuple[str, str]]:
    """Stored names (up, down) by the name of the weight they change."""
    sides: dict[str, dict[str, str]] = {}
    for stored in file.tensors:
        match = _NAME.match(stored)
        if match is None:
            raise CheckpointError(
                f"{file.path.name} changes {stored[:120]}, which is no temporal attention: "
                "choose an AnimateDiff motion LoRA."
            )
        projection = "to_out.0" if match["projection"] == "to_out" else match["projection"]
        (ours,) = animatediff_names(f"{match['place']}.{projection}.weight")
        side = "down" if (match["side"] or match["letter"]) in _DOWN else "up"
        pair = sides.setdefault(f"motion.{ours}", {})
        if side in pair:
            raise CheckpointError(f"{file.path.name} holds {stored} twice: get the original file.")
        pair[side] = stored
    for ours, pair in sides.items():
        if len(pair) != 2:
            raise CheckpointError(
                f"{file.path.name} lacks one half of the change of {ours}: download it again."
            )
    return {ours: (pair["up"], pair["down"]) for ours, pair in sides.items()}


def _check_pairs(file: WeightFile, names: Mapping[str, tuple[str, str]]) -> None:
    for ours, (up, down) in names.items():
        infos: tuple[TensorInfo, TensorInfo] = (file.tensors[up], file.tensors[down])
        if any(info.dtype not in FLOAT_DTYPES for info in infos):
            raise CheckpointError(
                f"{file.path.name} stores {up} as {infos[0].dtype}: choose a file in fp32, fp16 "
                "or bf16."
            )
        up_shape, down_shape = (info.shape for info in infos)
        if (len(up_shape), len(down_shape)) != (2, 2) or up_shape[1] != down_shape[0]:
            raise CheckpointError(
                f"{file.path.name} has factors that cannot be multiplied, {up_shape} and "
                f"{down_shape}, for {ours}: choose another file."
            )


def _check_fits(lora: MotionLora, name: str, weight: Tensor | None) -> None:
    if weight is None:
        raise CheckpointError(
            f"{lora.name} changes {name}, which this motion model does not have: choose a motion "
            "LoRA for SD 1.5 motion models, or a model with motion modules."
        )
    up, down = lora.factors[name]
    changed = (up.shape[0], down.shape[1])
    if tuple(weight.shape) != changed:
        raise CheckpointError(
            f"{lora.name} changes {name} as if it were {changed[0]} × {changed[1]}, but it is "
            f"{' × '.join(map(str, weight.shape))}: choose a motion LoRA made for this model."
        )
