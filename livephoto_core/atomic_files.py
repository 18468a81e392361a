"""Files that are there completely or not at all, also after kill -9 or a power cut."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a whole file. Of several that write it at once, the last one's content stays."""
    with replacing(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its name once it is complete and on disk.

    If the block fails, nothing is left of it and the old file stays.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what `replacing` left in a folder when it was killed. Nobody may be writing there."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def partial_path(path: Path) -> Path:
    """The name of a file that takes long to write; one that is left over gets overwritten."""
    return path.with_name(f".{path.name}.partial")


def publish(path: Path) -> None:
    """Gives a complete file at `partial_path(path)` its name, replacing what was there."""
    partial = partial_path(path)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes a new name durable, where the system lets a folder be opened (not on Windows)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
