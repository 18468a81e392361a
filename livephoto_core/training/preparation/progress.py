"""How far a preparation has come: what a run that was killed continues from."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ...atomic_files import write_atomically
from ...begun_folder import FOLDER, locked


@dataclass(frozen=True)
class ShardRecord:
    """A shard, and the state right after it.

    Args:
        name: File name.
        num_clips: Clips in it.
        num_bytes: Its size.
        position: Place in the source of the last video that was looked at for it.
        source: That video's name.
        rejected_bytes: Length of the list of rejected videos at that time.
        ssim: SSIM of its clips: the level edges are made from these.
    """

    name: str
    num_clips: int
    num_bytes: int
    position: int
    source: str
    rejected_bytes: int
    ssim: list[float]

    def has_clips_of(self, other: ShardRecord) -> bool:
        """Whether both tell of the same clips, made by machines that may round differently."""
        facts, others = (
            (record.name, record.num_clips, record.num_bytes, record.position, record.source)
            for record in (self, other)
        )
        return facts == others and np.allclose(self.ssim, other.ssim, rtol=0, atol=1e-4)


class PartProgress:
    """The shards and rejected videos of one machine's part.

    A shard is published after its record. So a record without its shard is one that was cut short,
    and counts for nothing.

    Args:
        output: The data set's folder.
        part: (i, n).
    """

    def __init__(self, output: Path, part: tuple[int, int]) -> None:
        index, count = part
        self._output = output
        self._suffix = "" if count == 1 else f"-{index}of{count}"
        (output / FOLDER).mkdir(parents=True, exist_ok=True)

    @property
    def rejected_path(self) -> Path:
        """The list of rejected videos."""
        return self._output / f"rejected{self._suffix}.jsonl"

    def shard_path(self, number: int) -> Path:
        """Where the part's shard of this number, from 0, lies."""
        return self._output / f"clips{self._suffix}-{number:06d}.tar"

    def records(self) -> Iterator[ShardRecord]:
        """The complete shards, in order, up to the first that is missing or cut short."""
        for record in self.published():
            if not self.is_intact(record):
                return
            yield record

    def published(self) -> Iterator[ShardRecord]:
        """All records, in order, whatever has become of their shards."""
        for number in itertools.count():
            path = self._record_path(self.shard_path(number).name)
            if not path.is_file():
                return
            yield ShardRecord(**json.loads(path.read_text()))

    def all_records(self) -> Iterator[ShardRecord]:
        """The shards of a complete part, in order.

        Raises:
            ValueError: If a shard or a record is no longer there.
        """
        num_shards = 0
        for record in self.published():
            if not self.is_intact(record):
                raise ValueError(
                    f"--output: {record.name} is missing or was cut short. Prepare again with that "
                    "part's --shard-of, which makes it anew."
                )
            num_shards += 1
            yield record
        assert self.summary is not None, "the part is complete"
        if num_shards != (expected := self.summary["num_shards"]):
            path = self._record_path(self.shard_path(num_shards).name)
            raise ValueError(
                f"--output: {path} is missing, the record of one of {expected} shards. Put it back "
                "from a copy, or prepare into another --output."
            )

    def is_intact(self, record: ShardRecord) -> bool:
        """Whether its shard is there, as long as it was when it was written."""
        shard = self._output / record.name
        return shard.is_file() and shard.stat().st_size == record.num_bytes

    def save(self, record: ShardRecord) -> None:
        """Stores a record; its shard must be published next."""
        content = json.dumps(asdict(record)).encode()
        write_atomically(self._record_path(record.name), content)

    @property
    def summary(self) -> dict[str, int] | None:
        """What `complete` was given, once the part is complete."""
        path = self._summary_path
        return json.loads(path.read_text()) if path.is_file() else None

    def complete(self, *, num_videos: int, num_rejected: int, num_shards: int) -> None:
        """Marks the part as complete."""
        summary = {
            "num_videos": num_videos,
            "num_rejected": num_rejected,
            "num_shards": num_shards,
        }
        write_atomically(self._summary_path, json.dumps(summary).encode())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps a second run out of the same part, where the system has such locks.

        Raises:
            ValueError: If another run works on it.
        """
        try:
            with locked(self._output / FOLDER / f"lock{self._suffix}", wait=False):
                yield
        except BlockingIOError as error:
            raise ValueError(
                f"--output: another run is writing to {self._output}. Wait for it, or give each "
                "its own --shard-of."
            ) from error

    @property
    def _summary_path(self) -> Path:
        return self._output / FOLDER / f"complete{self._suffix}.json"

    def _record_path(self, shard_name: str) -> Path:
        return self._output / FOLDER / f"{shard_name}.json"


class RejectedList:
    """The videos that were left out, with the reason: one JSON object per line.

    Args:
        path: The file.
        keep_bytes: How much of it stays from an earlier run; the rest is listed again.
    Attributes:
        count: How many are listed.
    """

    def __init__(self, path: Path, *, keep_bytes: int) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._file.truncate(min(keep_bytes, path.stat().st_size))
        with path.open("rb") as kept:
            self.count = sum(1 for _ in kept)

    def add(self, *, source: str, reason: str) -> None:
        """Lists a video."""
        self._file.write(json.dumps({"source": source, "reason": reason}) + "\n")
        self.count += 1

    def sync(self) -> int:
        """Puts the list on disk; returns its length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
