"""The tiny base model of the synthetic world: its parts as plain data, and the file they lie in.

A UNet, an autoencoder, a text encoder and a patch-token encoder of SD-1.5's families at reduced
width. `livephoto_core.comfyui.demo_modules` builds them, `base_training` trains them, and
`livephoto_core.comfyui.demo_model` hands them to ComfyUI.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoints.config_metadata import decode_dataclass
from ..checkpoints.errors import CheckpointError
from ..checkpoints.safetensors_writer import write_safetensors
from ..checkpoints.validation import check_finite
from ..checkpoints.weight_file import WeightFile, open_weight_file
from ..models.config import NoiseSchedule, UNetLayout

BASE_MODEL_PATH = Path(__file__).parent / "weights" / "shapes-base.safetensors"
"""Where the pack keeps the weights it ships."""

LATENT_SCALE = 0.18215
"""SD-1.5's factor between the autoencoder's latents and the UNet's."""

NOISE_SCHEDULE: NoiseSchedule = "linear"
"""AnimateDiff's. Our choice: at the highest noise of SD-1.5's, the latents of a clip still show its
motion to whoever looks for it, and then no sentence is needed to predict it."""

PARTS = ("unet", "autoencoder", "text_encoder", "content_encoder")
"""Prefixes of the file's weights."""

START_TOKEN, END_TOKEN = 49406, 49407
"""CLIP's special tokens; the last also fills a sentence up to 77."""

FORMAT_VERSION = 1
_PREFIX = "livephoto_base."
_VERSION_KEY, _CONFIG_KEY = f"{_PREFIX}format_version", f"{_PREFIX}config"


@dataclass(frozen=True)
class AutoencoderConfig:
    """A KL autoencoder of Stable Diffusion's family; one level more than it halves the image.

    Args:
        channels: Width of the finest level, a multiple of 32.
        channel_multipliers: Of each level, from fine to coarse.
        num_res_blocks: Per level of the encoder; the decoder has one more.
    """

    channels: int = 32
    channel_multipliers: tuple[int, ...] = (1, 1, 2, 3)
    num_res_blocks: int = 1


@dataclass(frozen=True)
class TextEncoderConfig:
    """A text encoder of CLIP's family, as wide as the UNet's `context_dim`.

    Args:
        num_layers: Transformer layers.
        num_heads: Of each layer.
        token_ids: CLIP's numbers of the tokens it knows, ascending, the special ones last; each
            has a row of the stored embedding, after the row of all unknown tokens.
    """

    num_layers: int = 3
    num_heads: int = 4
    token_ids: tuple[int, ...] = (START_TOKEN, END_TOKEN)


@dataclass(frozen=True)
class ContentEncoderConfig:
    """A patch-token encoder of DINOv2's family; its patches are 14 px wide in pictures of 224 px.

    Args:
        width: Of a token, a multiple of 64 (DINOv2's heads are 64 wide).
        num_layers: Transformer layers.
    """

    width: int = 128
    num_layers: int = 4


@dataclass(frozen=True)
class BaseConfig:
    """All parts of the tiny base model.

    Args:
        unet, autoencoder, text_encoder, content_encoder: The parts.
        size_px: Width and height of the pictures it was trained on.
        latent_rgb: Linear approximation of the decoder for previews: RGB in −1…1 per latent
            channel, then the bias; empty before the autoencoder is trained.
    """

    unet: UNetLayout = field(
        default_factory=lambda: UNetLayout(
            block_channels=(64, 128),
            attention_levels=(0, 1),
            context_dim=128,
            num_heads=4,
        )
    )
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    text_encoder: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    content_encoder: ContentEncoderConfig = field(default_factory=ContentEncoderConfig)
    size_px: int = 64
    latent_rgb: tuple[tuple[float, ...], ...] = ()

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Of a picture's latents, (c h w)."""
        side = self.size_px // 2 ** (len(self.autoencoder.channel_multipliers) - 1)
        return self.unet.latent_channels, side, side

    def __post_init__(self) -> None:
        unet, encoder, width = self.unet, self.text_encoder, self.content_encoder.width
        _check_multiples("unet.block_channels", unet.block_channels, 32)
        _check_multiples("unet.block_channels", unet.block_channels, unet.num_heads)
        _check_multiples("unet.context_dim", (unet.context_dim,), encoder.num_heads)
        _check_multiples("autoencoder.channels", (self.autoencoder.channels,), 32)
        _check_multiples("content_encoder.width", (width,), 64)
        halvings = len(self.autoencoder.channel_multipliers) - 1
        _check_multiples("size_px", (self.size_px,), 2**halvings)
        rows = [len(row) for row in self.latent_rgb]
        expected = [3] * (unet.latent_channels + 1)
        _require("latent_rgb", rows in ([], expected), f"rows of {expected} numbers", rows)
        ids = encoder.token_ids
        _require(
            "text_encoder.token_ids",
            list(ids) == sorted(set(ids)) and ids[-2:] == (START_TOKEN, END_TOKEN),
            "CLIP's token numbers, ascending, up to the start and end token",
            ids,
        )


@dataclass(frozen=True)
class BaseModelFile:
    """A base model's file whose weights are read on demand.

    Args:
        config: Its parts.
        file: Names and shapes; names start with a part of `PARTS` and a dot.
        metadata: What else was stored: command, seed, time and figures of its training.
    """

    config: BaseConfig
    file: WeightFile
    metadata: Mapping[str, str]

    def part(self, name: str) -> dict[str, Tensor]:
        """The weights of one of `PARTS`, under the names of its module.

        Raises:
            CheckpointError: If one is NaN or infinite.
        """
        prefix = f"{name}."
        weights = {
            key.removeprefix(prefix): self.file.load(key)
            for key in self.file.tensors
            if key.startswith(prefix)
        }
        check_finite(self.file.path, weights)
        return weights


def write_base_model(
    path: str | os.PathLike[str],
    config: BaseConfig,
    parts: Mapping[str, Mapping[str, Tensor]],
    metadata: Mapping[str, str],
) -> None:
    """Writes all parts into one safetensors file, fp16, in one step.

    Args:
        path: A file that is there is replaced.
        config: Describes the weights.
        parts: State dicts by the names in `PARTS`.
        metadata: Strings to store with them.
    Raises:
        ValueError: If a part is missing or unknown.
        CheckpointError: If a weight is not finite in fp16, or the file cannot be written.
    """
    if set(parts) != set(PARTS):
        raise ValueError(f"parts must be {', '.join(PARTS)}, got {', '.join(sorted(parts))}.")
    weights = {
        f"{part}.{name}": tensor.detach().to(torch.float16)
        for part, state_dict in parts.items()
        for name, tensor in state_dict.items()
    }
    check_finite(Path(path), weights)
    description = {
        _VERSION_KEY: str(FORMAT_VERSION),
        _CONFIG_KEY: json.dumps(dataclasses.asdict(config), allow_nan=False),
    }
    write_safetensors(Path(path), weights, {**metadata, **description})


def is_base_model(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of `write_base_model`, whatever its version."""
    if not Path(path).is_file():
        return False
    try:
        return _VERSION_KEY in open_weight_file(path).metadata
    except CheckpointError:
        return False


def open_base_model(path: str | os.PathLike[str]) -> BaseModelFile:
    """Opens a file of `write_base_model`.

    Raises:
        CheckpointError: If it is not one, or a newer version of the pack wrote it.
    """
    file = open_weight_file(path)
    version = file.metadata.get(_VERSION_KEY)
    if version != str(FORMAT_VERSION):
        found = "no base model" if version is None else f"format {version[:20]}"
        raise CheckpointError(
            f"{file.path.name} must hold a base model of the shapes world, format "
            f"{FORMAT_VERSION}, and holds {found}: choose shapes-base.safetensors, or update the "
            "pack."
        )
    try:
        config = decode_base_config(file.metadata.get(_CONFIG_KEY, ""))
    except ValueError as error:
        raise CheckpointError(
            f"{file.path.name} has a damaged description ({error}): get it again."
        ) from error
    metadata = {k: text for k, text in file.metadata.items() if not k.startswith(_PREFIX)}
    return BaseModelFile(config, file, metadata)


def decode_base_config(text: str) -> BaseConfig:
    """A config from the JSON of its `dataclasses.asdict`.

    Raises:
        ValueError: If it is not one.
    """
    try:
        return decode_dataclass(BaseConfig, json.loads(text))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _check_multiples(name: str, values: tuple[int, ...], of: int) -> None:
    fits = of > 0 and all(value > 0 and value % of == 0 for value in values)
    _require(name, fits, f"made of multiples of {of}", values)


def _require(name: str, holds: bool, expected: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} must be {expected}, got {str(value)[:80]}.")
