"""Folders that long commands fill: begun with certain options, and gone on with by the same."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .atomic_files import write_atomically

FOLDER = "progress"
"""Within such a folder, for what a later call goes on from."""

_log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What file systems without locks answer, such as Lustre without its option `flock`."""


def check_settings(output: Path, settings: dict[str, Any]) -> None:
    """Compares the options with those the folder was begun with, or stores them.

    Args:
        output: The folder.
        settings: Option of the command line → value, for all that change what comes out.
    Raises:
        ValueError: Naming the first option that differs.
    """
    path = output / FOLDER / "settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock"), wait=True):
        if not path.is_file():
            write_atomically(path, json.dumps(settings, indent=1).encode())
            return
    begun = json.loads(path.read_text())
    for option, value in json.loads(json.dumps(settings)).items():
        if begun.get(option) != value:
            raise ValueError(
                f"{option} is {value}, but {output} was begun with {begun.get(option)}. Give the "
                "same value to continue, or another --output."
            )


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Keeps others out, where the system has such locks; the file stays.

    Raises:
        BlockingIOError: If another holds it and `wait` is off.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _log.warning("%s: no locks here (%s): start no second run of it.", path.parent, error)
        yield
