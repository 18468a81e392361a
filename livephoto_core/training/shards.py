"""A prepared data set as a source of clips: WebDataset shards, read by random access.

A tar file is not compressed, so any of its members can be read once its headers were walked through
(a tenth of a second for a thousand clips). Memory stays the same for ten clips and for ten million.
"""

from __future__ import annotations

import io
import json
import tarfile
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..motion_intensity import check_edges
from .data import ClipFacts, Clips, stack_text
from .preparation.description import EMPTY_TEXT_FILE, FACTS_FILE, FORMAT_VERSION

MIXED_SHARDS = 8
"""Clips are shuffled over this many shards at a time, and these are drawn anew each epoch."""

_KEPT_INDEXES = 4 * MIXED_SHARDS
_PREPARE = "Run `python -m livephoto_core.training prepare` again."
_REMAKE = (
    "Delete the file and run `python -m livephoto_core.training prepare` again: it makes it anew."
)

Span = tuple[int, int]
"""Offset and size of a member, in bytes."""


@dataclass(frozen=True)
class Shard:
    """One tar file of the data set."""

    path: Path
    num_clips: int


class ShuffledOrder:
    """Which clip of which shard comes as number n: a pure function of the seed.

    Args:
        sizes: Clips in each shard.
        seed: Of all shuffling.
    """

    def __init__(self, sizes: Sequence[int], seed: int) -> None:
        self.num_clips = sum(sizes)
        self._sizes = np.array(sizes)
        self._seed = seed
        # One epoch and a few groups are in use at a time, two at their borders.
        self._epoch = lru_cache(2)(self._make_epoch)
        self._group = lru_cache(4)(self._make_group)

    def locate(self, number: int) -> tuple[int, int]:
        """Shard and place in it of clip `number`; every epoch holds every clip once."""
        epoch, position = divmod(number, self.num_clips)
        shards, group_ends = self._epoch(epoch)
        group = bisect_right(group_ends, position)
        if group:
            position -= group_ends[group - 1]
        places, ends = self._group(epoch, group)
        place = int(places[position])
        index = bisect_right(ends, place)
        first = ends[index - 1] if index else 0
        return int(shards[group * MIXED_SHARDS + index]), place - first

    def _make_epoch(self, epoch: int) -> tuple[np.ndarray, list[int]]:
        shards = np.random.default_rng([self._seed, epoch]).permutation(len(self._sizes))
        starts = range(0, len(shards), MIXED_SHARDS)
        sizes = (int(self._sizes[shards[i : i + MIXED_SHARDS]].sum()) for i in starts)
        return shards, list(accumulate(sizes))

    def _make_group(self, epoch: int, group: int) -> tuple[np.ndarray, list[int]]:
        first = group * MIXED_SHARDS
        sizes = self._sizes[self._epoch(epoch)[0][first : first + MIXED_SHARDS]]
        random = np.random.default_rng([self._seed, epoch, group])
        return random.permutation(int(sizes.sum())), list(accumulate(map(int, sizes)))


class PreparedClips:
    """The clips of a folder that `prepare` wrote.

    Args:
        folder: Holds `dataset.json`, `empty_text.npy` and the shards.
        seed: Of the order.
        with_references: Whether to read the first frames, for the content encoder.
    Attributes:
        base_sha256: Of the checkpoint that encoded them.
    Raises:
        ValueError: If the folder holds no complete data set; the message names the file.
    """

    def __init__(self, folder: str | Path, *, seed: int, with_references: bool) -> None:
        self._folder = Path(folder)
        description = _read_description(self._folder)
        self.facts = _facts(self._folder, description)
        self.base_sha256: str | None = description.get("base_checkpoint", {}).get("sha256")
        self._shards = _shards(self._folder, description)
        self._order = ShuffledOrder([shard.num_clips for shard in self._shards], seed)
        self._with_references = with_references
        self._index = lru_cache(_KEPT_INDEXES)(index_shard)
        # Or every thread that loads walks through a shard's headers when it is first needed.
        self._indexing = threading.Lock()

    @property
    def num_clips(self) -> int:
        """Clips in an epoch."""
        return self._order.num_clips

    def load(self, numbers: Sequence[int]) -> Clips:
        """The clips of these numbers; see `ClipSource`."""
        samples = [self._sample(*self._order.locate(number)) for number in numbers]
        references = [sample["reference.png"] for sample in samples if self._with_references]
        return Clips(
            latents=torch.stack([sample["latents.npy"] for sample in samples]),
            text=stack_text([sample["text.npy"] for sample in samples]),
            references=torch.stack(references) if references else None,
            ssim=tuple(sample["json"]["ssim"] for sample in samples),
            captions=tuple(sample["txt"] for sample in samples),
        )

    def _sample(self, shard_index: int, place: int) -> dict[str, Any]:
        shard = self._shards[shard_index]
        with self._indexing:
            clips = self._index(shard)
        wanted = [name for name in _DECODE if self._with_references or name != "reference.png"]
        key, spans = clips[place]
        try:
            with shard.path.open("rb") as file:
                sample = {name: _DECODE[name](_read(file, spans[name])) for name in wanted}
            self._check(sample)
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"{shard.path.name}: clip {key} cannot be read ({error}). {_REMAKE}"
            ) from error
        return sample

    def _check(self, sample: Mapping[str, Any]) -> None:
        facts, latents, text = self.facts, sample["latents.npy"], sample["text.npy"]
        if latents.ndim != 4 or latents.shape[:2] != (facts.num_frames, facts.latent_channels):
            raise ValueError(
                f"latents of shape {tuple(latents.shape)} instead of "
                f"({facts.num_frames}, {facts.latent_channels}, h, w)"
            )
        if text.ndim != 2 or text.shape[1] != facts.context_dim:
            raise ValueError(f"text of shape {tuple(text.shape)}, not (n, {facts.context_dim})")


def index_shard(shard: Shard) -> list[tuple[str, dict[str, Span]]]:
    """Key of every clip of a shard and where its members lie, in the order of the file.

    Raises:
        ValueError: If the shard is damaged or holds another number of clips than it should.
    """
    clips: dict[str, dict[str, Span]] = {}
    try:
        with tarfile.open(shard.path, "r:") as tar:
            for member in tar:
                key, _, name = member.name.partition(".")
                clips.setdefault(key, {})[name] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise ValueError(f"{shard.path.name} cannot be read ({error}). {_REMAKE}") from error
    if len(clips) != shard.num_clips:
        raise ValueError(
            f"{shard.path.name} holds {len(clips)} clips, {FACTS_FILE} says {shard.num_clips}. "
            f"{_REMAKE}"
        )
    return list(clips.items())


def _read(file: io.BufferedReader, span: Span) -> bytes:
    offset, size = span
    file.seek(offset)
    content = file.read(size)
    if len(content) != size:
        raise ValueError("the file ends too early")
    return content


def _array(content: bytes) -> Tensor:
    values = torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False)).float()
    if not values.isfinite().all():
        raise ValueError("NaN or infinite values")
    return values


def _image(content: bytes) -> Tensor:
    with Image.open(io.BytesIO(content)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).float() / 255


_DECODE = {
    "latents.npy": _array,
    "text.npy": _array,
    "reference.png": _image,
    "txt": bytes.decode,
    "json": json.loads,
}


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / FACTS_FILE
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"files.data: {folder} has no {FACTS_FILE}, so its preparation has not finished. Give "
            "the folder that `python -m livephoto_core.training prepare` wrote, or let it finish."
        ) from error
    except ValueError as error:
        raise ValueError(f"files.data: {path} is damaged ({error}). {_PREPARE}") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"files.data: {path} has format {version}, this version reads {FORMAT_VERSION}. "
            f"{_PREPARE}"
        )
    return description


def _facts(folder: Path, description: dict[str, Any]) -> ClipFacts:
    try:
        width, height = description["size_px"]
        empty_text = _array((folder / EMPTY_TEXT_FILE).read_bytes())
        return ClipFacts(
            num_frames=int(description["num_frames"]),
            size_px=(int(width), int(height)),
            latent_channels=int(description["latent_channels"]),
            context_dim=int(description["context_dim"]),
            ssim_edges=check_edges(tuple(map(float, description["ssim_edges"]))),
            empty_text=empty_text,
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(
            f"files.data: {folder} is not a complete data set ({error!r}). {_PREPARE}"
        ) from error


def _shards(folder: Path, description: dict[str, Any]) -> list[Shard]:
    entries = description.get("shards") or []
    shards = [Shard(folder / entry["name"], int(entry["num_clips"])) for entry in entries]
    missing = [shard.path.name for shard in shards if not shard.path.is_file()]
    if missing or not sum(shard.num_clips for shard in shards):
        what = f"lacks {len(missing)} shards, such as {missing[0]}" if missing else "has no clips"
        raise ValueError(f"files.data: {folder} {what}. {_PREPARE}")
    return shards
