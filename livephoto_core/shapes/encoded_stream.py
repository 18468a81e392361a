"""Latents of a numbered stream of the synthetic world, encoded once into memory-mapped files.

Encoding costs as much as a training step on what it gives, so trainings do not learn from pictures
made afresh for every step but go through a large set several times, with new noise and new
wordings each time.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..atomic_files import write_atomically
from .base_model import LATENT_SCALE

_PROGRESS = "progress.json"
_ENCODER = ("encoder.", "quant_conv.")
_PARTS_PER_SAVE = 16
_PICTURES_AT_ONCE = {"cpu": 16, "cuda": 512}

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stream:
    """What is encoded.

    Args:
        name: Of the items, for the log.
        count: How many items; a multiple of `part_size`.
        part_size: Items that are rendered and encoded together.
        arrays: Shape of an item and dtype of each file, by the file's name without ".npy".
        render: What `encode` is given for the part of this number; called in worker processes.
        encode: The part's rows of each array.
        description: Says what the result depends on; it is stored and must be the same to continue.
    """

    name: str
    count: int
    part_size: int
    arrays: Mapping[str, tuple[tuple[int, ...], type]]
    render: Callable[[int], Any]
    encode: Callable[[Any], Mapping[str, np.ndarray]]
    description: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.count < 1 or self.count % self.part_size:
            raise ValueError(
                f"num_{self.name} must be a multiple of {self.part_size}, got {self.count}."
            )


def encode_stream(stream: Stream, folder: Path, *, num_workers: int = 1) -> dict[str, np.ndarray]:
    """All items of a stream.

    Continues what an interrupted call left, and returns at once if all are there.

    Args:
        stream: What to encode.
        folder: Gets the files.
        num_workers: Processes that render.
    Returns:
        Arrays mapped from the files, (count …).
    Raises:
        ValueError: If the folder holds another stream.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = {**stream.description, "count": stream.count}
    num_done = _num_done(folder, description)
    arrays = {name: _open(folder, stream, name, anew=num_done == 0) for name in stream.arrays}
    numbers = range(num_done // stream.part_size, stream.count // stream.part_size)
    parts = DataLoader(
        _Parts(stream.render), batch_size=None, sampler=numbers, num_workers=num_workers
    )
    for number, part in zip(numbers, parts, strict=True):
        rows = slice(number * stream.part_size, (number + 1) * stream.part_size)
        for name, values in stream.encode(part).items():
            arrays[name][rows] = values
        if (number + 1) % _PARTS_PER_SAVE == 0 or rows.stop == stream.count:
            for array in arrays.values():
                array.flush()
            progress = json.dumps({**description, "num_done": rows.stop})
            write_atomically(folder / _PROGRESS, progress.encode())
            _logger.info("encoded %d of %d %s", rows.stop, stream.count, stream.name)
    return open_encoded(folder, stream.arrays)


def open_encoded(folder: Path, names: Any) -> dict[str, np.ndarray]:
    """Arrays of a finished stream, mapped from their files."""
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}


@torch.inference_mode()
def encode_pixels(autoencoder: Any, pixels: Tensor) -> np.ndarray:
    """Latents as the UNet sees them.

    Args:
        autoencoder: ComfyUI's AutoencoderKL, after `normalise_latents`.
        pixels: (b 3 h w), −1 to 1.
    Returns:
        (b c h/8 w/8), float16.
    """
    # In fp32: these are the targets of all that follows.
    device = next(autoencoder.parameters()).device
    parts = pixels.split(_PICTURES_AT_ONCE[device.type])
    latents = torch.cat([autoencoder.encode(some.to(device)) for some in parts])
    return (latents * LATENT_SCALE).to("cpu", torch.float16).numpy()


def encoder_digest(weights: Mapping[str, Tensor]) -> str:
    """Tells the encoders of autoencoders apart; a decoder does not change latents."""
    return digest({name: weights[name] for name in weights if name.startswith(_ENCODER)})


def digest(state_dict: Mapping[str, Tensor]) -> str:
    """Tells weights apart."""
    sha256 = hashlib.sha256()
    for name in sorted(state_dict):
        sha256.update(name.encode())
        sha256.update(state_dict[name].detach().cpu().float().contiguous().numpy().tobytes())
    return sha256.hexdigest()


class _Parts(Dataset[Any]):
    def __init__(self, render: Callable[[int], Any]) -> None:
        self._render = render

    def __getitem__(self, number: int) -> Any:
        return self._render(number)


def _num_done(folder: Path, description: Mapping[str, Any]) -> int:
    path = folder / _PROGRESS
    if not path.is_file():
        return 0
    progress = json.loads(path.read_text())
    num_done = progress.pop("num_done")
    if progress != description:
        names = sorted({*description, *progress})
        differ = [name for name in names if progress.get(name) != description.get(name)]
        raise ValueError(
            f"{folder} holds latents made with another {', '.join(differ)}. Delete that folder to "
            "encode anew."
        )
    return num_done


def _open(folder: Path, stream: Stream, name: str, *, anew: bool) -> np.memmap:
    path = folder / f"{name}.npy"
    if not anew:
        return np.lib.format.open_memmap(path, mode="r+")
    shape, dtype = stream.arrays[name]
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(stream.count, *shape))
