"""The files below a folder in one fixed order, however many there are."""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

RUN_LENGTH = 100_000
"""Names sorted in memory at a time; longer folders are merged from sorted runs on disk."""


def files_below(folder: str | Path) -> Iterator[str]:
    """The files below a folder, sorted by name within each folder, in constant memory.

    Symbolic links to folders are followed; names that start with a dot are left out.

    Returns:
        Paths relative to the folder, with "/" between the names.
    """
    # The mark of a folder sorts with its name, and cannot occur in one.
    for name in _sorted(_names(folder)):
        if name.endswith("/"):
            yield from (name + inner for inner in files_below(os.path.join(folder, name)))
        else:
            yield name


def _names(folder: str | Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                yield f"{entry.name}/" if entry.is_dir() else entry.name


def _sorted(names: Iterable[str]) -> Iterator[str]:
    names = iter(names)
    first = sorted(islice(names, RUN_LENGTH))
    if len(first) < RUN_LENGTH:
        yield from first
        return
    with ExitStack() as files:
        runs: list[Iterable[str]] = [first]
        while run := sorted(islice(names, RUN_LENGTH)):
            runs.append(_on_disk(run, files))
        yield from heapq.merge(*runs)


def _on_disk(run: list[str], files: ExitStack) -> Iterator[str]:
    # Undecodable names survive as surrogates; a name may hold a line feed, but never a NUL.
    temporary = tempfile.TemporaryFile(  # noqa: SIM115
        "w+", encoding="utf-8", errors="surrogateescape", newline=""
    )
    file = files.enter_context(temporary)
    file.writelines(f"{name}\0\n" for name in run)
    file.seek(0)
    return _until_nul(file)


def _until_nul(lines: Iterable[str]) -> Iterator[str]:
    name = ""
    for line in lines:
        name += line
        if name.endswith("\0\n"):
            yield name[:-2]
            name = ""
