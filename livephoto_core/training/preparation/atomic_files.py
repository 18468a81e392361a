"""Files that are there completely or not at all, also after kill -9 or a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def partial_path(path: Path) -> Path:
    """The name of a file while it is written; one that is left over gets overwritten."""
    return path.with_name(f".{path.name}.partial")


def publish(path: Path) -> None:
    """Gives a complete file at `partial_path(path)` its name, replacing what was there."""
    partial = partial_path(path)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    if hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a whole file."""
    partial_path(path).write_bytes(content)
    publish(path)
