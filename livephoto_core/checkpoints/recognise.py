"""Telling what a weight file holds from its names, before its data is touched."""

from __future__ import annotations

import re
from typing import Literal

from .errors import CheckpointError
from .foreign_files import (
    LORA,
    SDXL_MOTION,
    SDXL_MOTION_LORA,
    WITH_MOTION_MODULES,
    WITHOUT_MOTION_MODULES,
    ForeignFile,
)
from .native import is_native
from .weight_file import WeightFile

Readable = Literal["native", "motion", "motion LoRA"]
"""What this pack reads: its own format, a public motion model, a motion LoRA."""

_MOTION_MODULE = re.compile(
    r"^(?:module\.|unet\.)?(?:(?:down|up)_blocks\.\d+|mid_block)\.motion_modules\.", re.M
)
_MOTION_DOWN_BLOCK = re.compile(r"\bdown_blocks\.(\d+)\.motion_modules\.")
_LAST_SDXL_DOWN_BLOCK = 2
_OUR_PARTS = ("motion.", "input_conditioning.", "content.", "text_reweighting.", "text_adapters.")


def recognise(file: WeightFile) -> Readable | ForeignFile:
    """What a weight file holds, from its metadata and names alone.

    Raises:
        CheckpointError: If it is nothing this pack knows.
    """
    if is_native(file.metadata):
        return "native"
    names = "\n".join(file.tensors)
    if _MOTION_MODULE.search(names):
        return _first_match(WITH_MOTION_MODULES, names) or _motion_kind(names)
    foreign = _first_match(WITHOUT_MOTION_MODULES, names)
    if foreign is None:
        raise CheckpointError(_unknown(file))
    return foreign


def wrong_file(file: WeightFile, found: ForeignFile, wanted: str) -> CheckpointError:
    """The sentence for a file that was chosen where `wanted` belongs."""
    return CheckpointError(f"{file.path.name} holds {found.what}, not {wanted}: {found.remedy}.")


def _first_match(candidates: tuple[ForeignFile, ...], names: str) -> ForeignFile | None:
    return next((kind for kind in candidates if re.search(kind.pattern, names, re.M)), None)


def _motion_kind(names: str) -> Readable | ForeignFile:
    blocks = {int(block) for block in _MOTION_DOWN_BLOCK.findall(names)}
    is_sdxl = max(blocks, default=None) == _LAST_SDXL_DOWN_BLOCK
    if re.search(LORA, names, re.M):
        return SDXL_MOTION_LORA if is_sdxl else "motion LoRA"
    return SDXL_MOTION if is_sdxl else "motion"


def _unknown(file: WeightFile) -> str:
    if not file.tensors:
        return f"{file.path.name} holds no weights: choose another file."
    if all(name.startswith(_OUR_PARTS) for name in file.tensors):
        return (
            f"{file.path.name} holds LivePhoto weights without the metadata that describe them: "
            "choose the file as it was written, not a copy that another program saved."
        )
    first = ", ".join(repr(name[:60]) for name in list(file.tensors)[:3])
    return (
        f"{file.path.name} holds no weights this pack knows (such as {first}): choose an "
        "AnimateDiff, PIA, AnimateLCM or LivePhoto file."
    )
