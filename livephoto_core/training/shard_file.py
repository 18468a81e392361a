"""One shard of a prepared data set: where its clips lie, and what they hold.

A tar file is not compressed, so any of its members can be read once its headers were walked through
(a tenth of a second for a thousand clips).

Damage is told from storage that fails. A damaged clip stays damaged, so that it can be left out by
a rule that every run follows; storage may give another answer a minute later.
"""

from __future__ import annotations

import io
import json
import logging
import tarfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .preparation.description import FACTS_FILE

_log = logging.getLogger(__name__)

_REMAKE = (
    "Delete the file and run `python -m livephoto_core.training prepare` again: it makes it anew."
)

_WAITS_S = (1.0, 5.0, 25.0)
"""Before storage is asked again. Network file systems may fail for a while."""

Span = tuple[int, int]
"""Offset and size of a member, in bytes."""

ShardIndex = list[tuple[str, dict[str, Span]]]
"""Key of each clip and where its members lie, in the order of the file."""

T = TypeVar("T")


class DamagedClipError(ValueError):
    """What lies in a clip's place is no clip; reading it again would not help."""


@dataclass(frozen=True)
class Shard:
    """One tar file of the data set."""

    path: Path
    num_clips: int


def index_shard(shard: Shard) -> ShardIndex:
    """Where the clips of a shard lie: all of them, or those before the place where it is damaged.

    Raises:
        ValueError: If the shard holds more clips than it should.
        OSError: If the storage cannot be read.
    """
    clips: dict[str, dict[str, Span]] = {}

    def walk() -> None:
        clips.clear()
        with tarfile.open(shard.path, "r:") as tar:
            for member in tar:
                key, _, name = member.name.partition(".")
                clips.setdefault(key, {})[name] = (member.offset_data, member.size)

    try:
        _from_storage(shard.path, walk)
    except tarfile.TarError as error:
        _log.error("%s is damaged (%s). %s", shard.path.name, error, _REMAKE)
    if len(clips) > shard.num_clips:
        raise ValueError(_other_count(shard, len(clips)))
    return list(clips.items())


def read_clip(shard: Shard, index: ShardIndex, place: int, names: Sequence[str]) -> dict[str, Any]:
    """The members of a clip, decoded.

    Args:
        index: Of the shard.
        place: Of the clip in it.
        names: Which members; `json` always comes too.
    Raises:
        DamagedClipError: If the clip is not what was written; the message names it.
        OSError: If the storage cannot be read.
    """
    if place >= len(index):
        raise DamagedClipError(_other_count(shard, len(index)))
    key, spans = index[place]
    try:
        wanted = {name: spans[name] for name in {*names, "json"}}
        contents = _from_storage(shard.path, lambda: _read(shard.path, wanted))
        sample = {name: _DECODE[name](content) for name, content in contents.items()}
        _check_sums(contents, sample["json"].get("crc32", {}))
        return sample
    except OSError:
        raise
    except Exception as error:
        # Decoders say of damage whatever they come upon: SyntaxError, TokenError, KeyError …
        raise DamagedClipError(damage(shard, key, error)) from error


def damage(shard: Shard, key: str, error: object) -> str:
    """What is wrong with a clip, and what to do."""
    return f"{shard.path.name}: clip {key} cannot be read ({error}). {_REMAKE}"


def _other_count(shard: Shard, count: int) -> str:
    return f"{shard.path.name} holds {count} clips, {FACTS_FILE} says {shard.num_clips}. {_REMAKE}"


def _from_storage(path: Path, read: Callable[[], T]) -> T:
    """What `read` gives, asked for more than once if the storage fails.

    Raises:
        OSError: If it still fails; the message says what to do.
    """
    for wait_s in _WAITS_S:
        try:
            return read()
        except OSError as error:
            _log.error("%s: %s. Trying again in %g s.", path.name, error, wait_s)
            time.sleep(wait_s)
    try:
        return read()
    except OSError as error:
        raise OSError(
            f"the storage of {path} cannot be read ({error}). Once it can, --resume "
            "goes on from the last saved step."
        ) from error


def _read(path: Path, spans: Mapping[str, Span]) -> dict[str, bytes]:
    contents = {}
    with path.open("rb") as file:
        for name, (offset, size) in spans.items():
            file.seek(offset)
            contents[name] = file.read(size)
            if len(contents[name]) != size:
                raise ValueError("the file ends too early")
    return contents


def _check_sums(contents: Mapping[str, bytes], sums: Mapping[str, int]) -> None:
    """Raises ValueError for a member that is not what `prepare` wrote, where it kept a sum."""
    for name in contents.keys() & sums.keys():
        if zlib.crc32(contents[name]) != sums[name]:
            raise ValueError(f"{name} is not what was written")


def array_of(content: bytes) -> Tensor:
    """A .npy file's values, in float32.

    Raises:
        ValueError: If it is no such file, or a value is NaN or infinite.
    """
    values = torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False)).float()
    if not values.isfinite().all():
        raise ValueError("NaN or infinite values")
    return values


def _image(content: bytes) -> Tensor:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).float() / 255
    except OSError as error:  # Pillow's word for damage, not the storage's
        raise ValueError(str(error)) from error


_DECODE: dict[str, Callable[[bytes], Any]] = {
    "latents.npy": array_of,
    "text.npy": array_of,
    "reference.png": _image,
    "txt": bytes.decode,
    "json": json.loads,
}
