"""A prepared data set as a source of clips: WebDataset shards, read by random access.

Memory stays the same for ten clips and for ten million. A damaged clip does not end a training of
days: another of the same eight shards takes its place, the same one in every run.
"""

from __future__ import annotations

import json
import logging
import threading
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..motion_intensity import check_edges
from .data import ClipFacts, Clips, stack_text
from .preparation.description import EMPTY_TEXT_FILE, FACTS_FILE, FORMAT_VERSION
from .shard_file import DamagedClipError, Shard, array_of, damage, index_shard, read_clip

_log = logging.getLogger(__name__)

MIXED_SHARDS = 8
"""Clips are shuffled over this many shards at a time, and these are drawn anew each epoch."""

_KEPT_INDEXES = 4 * MIXED_SHARDS
_PREPARE = "Run `python -m livephoto_core.training prepare` again."

_NUM_SUBSTITUTES = 16
_DAMAGED_SHARE, _DAMAGED_CLIPS = 1 / 1000, 10
"""A data set that has lost more than both ends the training."""


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

    def locate(self, number: int, attempt: int = 0) -> tuple[int, int]:
        """Shard and place in it of clip `number`; every epoch holds every clip once.

        Args:
            number: Of the clip.
            attempt: Other than 0 for another clip in its place, drawn from the same shards.
        """
        epoch, position = divmod(number, self.num_clips)
        shards, group_ends = self._epoch(epoch)
        group = bisect_right(group_ends, position)
        if group:
            position -= group_ends[group - 1]
        places, ends = self._group(epoch, group)
        place = int(places[position])
        if attempt:
            random = np.random.default_rng([self._seed, epoch, group, position, attempt])
            place = int(random.integers(len(places)))
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
        option: That names the folder, for errors.
    Attributes:
        base_sha256: Of the checkpoint that encoded them.
    Raises:
        ValueError: If the folder holds no complete data set; the message names the file.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        seed: int,
        with_references: bool,
        option: str = "files.data",
    ) -> None:
        self._folder, self._option = Path(folder), option
        description = _read_description(self._folder, option)
        self.facts = _facts(self._folder, description, option)
        self.base_sha256: str | None = description.get("base_checkpoint", {}).get("sha256")
        self._shards = _shards(self._folder, description, option)
        self._order = ShuffledOrder([shard.num_clips for shard in self._shards], seed)
        self._with_references = with_references
        self._index = lru_cache(_KEPT_INDEXES)(index_shard)
        # Or every thread that loads walks through a shard's headers when it is first needed.
        self._indexing = [threading.Lock() for _ in self._shards]
        self._damaged: set[tuple[int, int]] = set()
        self._said: set[str] = set()

    @property
    def num_clips(self) -> int:
        """Clips in an epoch."""
        return self._order.num_clips

    def load(self, numbers: Sequence[int]) -> Clips:
        """The clips of these numbers; see `ClipSource`.

        Raises:
            ValueError: If too much of the data set is damaged.
            OSError: If the storage cannot be read.
        """
        samples = [self._sample(number) for number in numbers]
        references = [sample["reference.png"] for sample in samples if self._with_references]
        return Clips(
            latents=torch.stack([sample["latents.npy"] for sample in samples]),
            text=stack_text([sample["text.npy"] for sample in samples]),
            references=torch.stack(references) if references else None,
            ssim=tuple(sample["json"]["ssim"] for sample in samples),
            captions=tuple(sample["txt"] for sample in samples),
        )

    def _sample(self, number: int) -> dict[str, Any]:
        """The clip of this number, or what takes its place if it is damaged."""
        message = ""
        for attempt in range(1 + _NUM_SUBSTITUTES):
            place = self._order.locate(number, attempt)
            try:
                return self._sample_at(*place)
            except DamagedClipError as error:
                message = str(error)
                self._note(place, message)
        raise ValueError(
            f"{self._option}: nearly all clips of {self._folder} that were tried are damaged, such "
            f"as {message}"
        )

    def _note(self, place: tuple[int, int], message: str) -> None:
        # Of a shard that was cut short many clips are missing, for the same reason.
        if message not in self._said:
            self._said.add(message)
            _log.error("%s Until then another clip takes its place.", message)
        self._damaged.add(place)
        if len(self._damaged) > max(_DAMAGED_CLIPS, _DAMAGED_SHARE * self.num_clips):
            raise ValueError(
                f"{self._option}: {len(self._damaged)} clips of {self._folder} are damaged, too "
                f"many to leave out. The last: {message}"
            )

    def _sample_at(self, shard_index: int, place: int) -> dict[str, Any]:
        shard = self._shards[shard_index]
        with self._indexing[shard_index]:
            index = self._index(shard)
        names = ["latents.npy", "text.npy", "txt"]
        if self._with_references:
            names.append("reference.png")
        sample = read_clip(shard, index, place, names)
        try:
            self._check(sample)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedClipError(damage(shard, index[place][0], error)) from error
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
        if not -1 <= (ssim := sample["json"]["ssim"]) <= 1:
            raise ValueError(f"an SSIM of {ssim}")


def _read_description(folder: Path, option: str) -> dict[str, Any]:
    path = folder / FACTS_FILE
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"{option}: {folder} has no {FACTS_FILE}, so its preparation has not finished. Give "
            "the folder that `python -m livephoto_core.training prepare` wrote, or let it finish."
        ) from error
    except ValueError as error:
        raise ValueError(f"{option}: {path} is damaged ({error}). {_PREPARE}") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{option}: {path} has format {version}, this version reads {FORMAT_VERSION}. "
            f"{_PREPARE}"
        )
    return description


def _facts(folder: Path, description: dict[str, Any], option: str) -> ClipFacts:
    try:
        width, height = description["size_px"]
        empty_text = array_of((folder / EMPTY_TEXT_FILE).read_bytes())
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
            f"{option}: {folder} is not a complete data set ({error!r}). {_PREPARE}"
        ) from error


def _shards(folder: Path, description: dict[str, Any], option: str) -> list[Shard]:
    entries = description.get("shards") or []
    shards = [Shard(folder / entry["name"], int(entry["num_clips"])) for entry in entries]
    missing = [shard.path.name for shard in shards if not shard.path.is_file()]
    if missing or not sum(shard.num_clips for shard in shards):
        what = f"lacks {len(missing)} shards, such as {missing[0]}" if missing else "has no clips"
        raise ValueError(f"{option}: {folder} {what}. {_PREPARE}")
    return shards
