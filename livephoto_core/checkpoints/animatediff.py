"""Reading public SD 1.5 motion files: AnimateDiff v1, v2, v3, PIA, AnimateLCM, diffusers adapters.

None of them says what it is, so names and shapes decide: a 9-channel `conv_in` is PIA's, no stored
positional encoding is AnimateLCM's, a middle block v2's, else 24 positions are v1's and more v3's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..models.config import (
    DEFAULT_POSITION_LENGTH,
    SD15,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    MotionKind,
)
from ..models.motion import sinusoidal_positions
from .errors import CheckpointError
from .motion_names import POSITIONS, animatediff_names, is_diffusers_name, motion_location
from .safetensors_header import TensorInfo
from .validation import check_finite, check_weights, expected_weights
from .weight_file import WeightFile

_PREFIX = "module."
_V1_POSITIONS, _MAX_POSITIONS = 24, 4096
_PIA_CONV = "conv_in.weight"
_PIA_CHANNELS = ("affinity", "reference")
_PIA_INPUTS = SD15.latent_channels + 1 + SD15.latent_channels
_OUR_CONV = "input_conditioning.conv.weight"

# Checkpoints of the original trainers hold the whole frozen UNet next to the motion modules.
_FROZEN_UNET = re.compile(
    r"^(conv_in|conv_out|conv_norm_out|time_embedding)\.|"
    r"^((down|up)_blocks\.\d+|mid_block)\.(resnets|attentions|downsamplers|upsamplers)\."
)


@dataclass(frozen=True)
class _Source:
    """Where a weight of ours is in the file; of a convolution, from which input channel."""

    name: str
    info: TensorInfo
    first_channel: int = 0

    def load(self, file: WeightFile) -> Tensor:
        tensor = file.load(self.name)
        return tensor[:, self.first_channel :].contiguous() if self.first_channel else tensor


def read_motion_file(file: WeightFile) -> tuple[LivePhotoConfig, dict[str, Tensor]]:
    """Description and weights, under our names, of a public motion file.

    Raises:
        CheckpointError: If the file is not exactly one of the known models, or is damaged.
    """
    sources = _sources(file)
    config = _config(file, sources)
    expected = expected_weights(file.path, config)
    stores_positions = config.motion is not None and config.motion.position_length is not None
    made = {} if stores_positions else _made_positions(expected)
    wanted = {name: shape for name, shape in expected.items() if name not in made}
    check_weights(file.path, {name: source.info for name, source in sources.items()}, wanted)
    weights = {name: sources[name].load(file) for name in wanted}
    check_finite(file.path, weights)
    return config, {**weights, **made}


def _sources(file: WeightFile) -> dict[str, _Source]:
    sources: dict[str, _Source] = {}
    for stored, info in file.tensors.items():
        name = stored.removeprefix(_PREFIX)
        for ours, source in _match(stored, name, info):
            if ours in sources:
                raise CheckpointError(
                    f"{file.path.name} holds {name} twice: choose the original file."
                )
            sources[ours] = source
    return sources


def _match(stored: str, name: str, info: TensorInfo) -> list[tuple[str, _Source]]:
    if motion_location(name):
        return [(f"motion.{ours}", _Source(stored, info)) for ours in animatediff_names(name)]
    if name == _PIA_CONV and info.shape[1:2] == (_PIA_INPUTS,):
        first = SD15.latent_channels
        shape = (info.shape[0], info.shape[1] - first, *info.shape[2:])
        return [(_OUR_CONV, _Source(stored, TensorInfo(info.dtype, shape), first))]
    if _FROZEN_UNET.match(name):
        return []
    return [(name, _Source(stored, info))]  # Unknown: reported with the other names.


def _config(file: WeightFile, sources: Mapping[str, _Source]) -> LivePhotoConfig:
    length = _position_length(file, sources)
    has_middle = any(name.startswith("motion.mid_block.") for name in sources)
    is_pia = _OUR_CONV in sources
    kind = _kind(is_pia=is_pia, length=length, has_middle=has_middle)
    return LivePhotoConfig(
        layout=SD15,
        motion=MotionConfig(kind=kind, position_length=length, has_middle=has_middle),
        input_conditioning=InputConditioningConfig(_PIA_CHANNELS) if is_pia else None,
        training_size_px=(256, 256) if kind == "AnimateDiff v1" else (512, 512),
        # All of them, AnimateLCM too: its author says so (G-U-N/AnimateLCM, issue 24).
        noise_schedule="linear",
        cross_frame_group_norm=kind in ("AnimateDiff v1", "PIA"),
    )


def _kind(*, is_pia: bool, length: int | None, has_middle: bool) -> MotionKind:
    if is_pia:
        return "PIA"
    if length is None:
        return "AnimateLCM"
    if has_middle:
        return "AnimateDiff v2"
    return "AnimateDiff v1" if length == _V1_POSITIONS else "AnimateDiff v3"


def _position_length(file: WeightFile, sources: Mapping[str, _Source]) -> int | None:
    for name, source in sources.items():
        if name.endswith(POSITIONS):
            return _checked_length(file, source.info.shape)
    if any(is_diffusers_name(source.name.removeprefix(_PREFIX)) for source in sources.values()):
        raise CheckpointError(
            f"{file.path.name} is a diffusers motion adapter without positional encodings, so "
            "its AnimateDiff version cannot be told: choose the original AnimateDiff file."
        )
    return None


def _checked_length(file: WeightFile, shape: tuple[int, ...]) -> int:
    if len(shape) != 3 or not 1 <= shape[1] <= _MAX_POSITIONS:
        raise CheckpointError(
            f"{file.path.name} has positional encodings of shape {shape}, where (1, frames, "
            "channels) is expected: choose the original AnimateDiff file."
        )
    return shape[1]


def _made_positions(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {
        name: sinusoidal_positions(DEFAULT_POSITION_LENGTH, shape[-1])
        for name, shape in shapes.items()
        if name.endswith(POSITIONS)
    }
