"""A virtual environment and a ComfyUI tree, made once and reused.

Everything lies in one folder that git ignores (`.comfyui`, or `LIVEPHOTO_HOME`). `COMFYUI_PATH`
names a checkout of the user's own instead; then the Python that runs this is used as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tomllib
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.packages import SetupError, obtain_tree, run_logged
from harness.releases import NEWEST, RELEASES, Release, find_release

REPOSITORY = Path(__file__).resolve().parent.parent
CONSTRAINTS = Path(__file__).resolve().parent / "constraints.txt"

# The newest torch and torchaudio on PyPI disagree about CUDA, and ComfyUI then fails to import.
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")


@dataclass(frozen=True)
class Environment:
    """A ComfyUI that is ready to start.

    Args:
        python: Interpreter that has ComfyUI's requirements.
        comfyui: ComfyUI's source tree.
        version: ComfyUI's version.
    """

    python: Path
    comfyui: Path
    version: str


def home() -> Path:
    """Return the folder for all that the harness makes."""
    override = os.environ.get("LIVEPHOTO_HOME")
    return Path(override).expanduser().resolve() if override else REPOSITORY / ".comfyui"


def comfyui_versions() -> list[str]:
    """Return the versions `prepare` can give: the pinned ones, or that of `COMFYUI_PATH`."""
    checkout = _own_checkout()
    return [checkout.version] if checkout else list(RELEASES)


def prepare(version: str | None = None) -> Environment:
    """Return an environment for ComfyUI, making on the first call what is not there yet.

    Args:
        version: ComfyUI's version; the newest pinned one by default.
    Raises:
        SetupError: If the set-up fails, or `COMFYUI_PATH` holds another version than asked for.
        ValueError: If no such release is pinned.
    """
    checkout = _own_checkout()
    if checkout:
        if version not in (None, checkout.version):
            raise SetupError(
                f"ComfyUI {version} is asked for, but COMFYUI_PATH holds {checkout.version}: unset "
                "COMFYUI_PATH to use the pinned releases."
            )
        return checkout
    release = find_release(version or NEWEST.version)
    python = _prepare_venv()
    return Environment(python, _prepare_tree(python, release), release.version)


def prepare_front_end(environment: Environment, *, version: str | None = None) -> Path | None:
    """Return the folder with the front end that this ComfyUI was released with, or with another.

    The virtual environment holds the newest release's front end; any other is fetched on the first
    call, for the tests that drive a browser.

    Args:
        environment: Of ComfyUI.
        version: Of `comfyui-frontend-package`; by default the one that this ComfyUI asks for.
    Returns:
        A value for `--front-end-root`, or None where the installed front end is the right one.
    """
    release = RELEASES.get(environment.version)
    if version is None:
        if _own_checkout() or release is None or release.front_end == NEWEST.front_end:
            return None
        version = release.front_end
    folder = home() / f"front-end-{version}"
    with home_lock():
        if not folder.is_dir():
            scratch = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(scratch, ignore_errors=True)
            command = [environment.python, "-m", "pip", "install", "--no-deps", "--target", scratch]
            command += [f"comfyui-frontend-package=={version}"]
            run_logged(command, title=f"Installing front end {version}", log=_log())
            scratch.rename(folder)
    return folder / "comfyui_frontend_package" / "static"


def _own_checkout() -> Environment | None:
    given = os.environ.get("COMFYUI_PATH")
    if not given:
        return None
    tree = Path(given).expanduser().resolve()
    version_file = tree / "comfyui_version.py"
    if not version_file.is_file() or not (tree / "main.py").is_file():
        raise SetupError(
            f"COMFYUI_PATH={given}: expected a ComfyUI checkout, a folder with main.py and "
            "comfyui_version.py; found none."
        )
    found = re.search(r"__version__\s*=\s*[\"']([^\"']+)", version_file.read_text())
    if found is None:
        raise SetupError(f"{version_file}: expected a line __version__ = '…', found none.")
    if importlib.util.find_spec("torch") is None:
        raise SetupError(
            f"COMFYUI_PATH={given}: it is used with this Python, {sys.executable}, which has no "
            "PyTorch. Take the Python that ComfyUI runs with, as in make PYTHON=venv/bin/python "
            "demo, or unset COMFYUI_PATH."
        )
    return Environment(Path(sys.executable), tree, found[1])


def _prepare_tree(python: Path, release: Release) -> Path:
    tree = home() / f"ComfyUI-{release.version}"
    if not tree.is_dir():
        with home_lock():
            if not tree.is_dir():
                obtain_tree(python, release, destination=tree, log=_log())
    return tree


def _prepare_venv() -> Path:
    folder = home() / "venv"
    python = folder / "bin" / "python"
    stamp = folder / "livephoto-inputs.json"
    inputs = _venv_inputs(folder)
    if _holds(stamp, inputs):
        return python
    with home_lock():
        if not _holds(stamp, inputs):
            # pip can't undo a half-made environment: start again. Downloads come from pip's cache.
            with _set_aside(folder):
                _build_venv(folder, python)
                _write_atomically(stamp, inputs)
    return python


@contextlib.contextmanager
def _set_aside(folder: Path) -> Iterator[None]:
    """Give the place of a folder to another one; if that fails, put the old one back."""
    aside = folder.with_name(f"{folder.name}.before")
    if aside.exists():  # the run that put it there was killed
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    if folder.exists():
        folder.rename(aside)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _build_venv(folder: Path, python: Path) -> None:
    _create_venv(folder)
    install = [python, "-m", "pip", "install", "--constraint", CONSTRAINTS]
    tools = ["--upgrade", "pip", "setuptools"]
    run_logged([*install, *tools], title="Creating the virtual environment", log=_log())
    tree = home() / f"ComfyUI-{NEWEST.version}"
    if not tree.is_dir():
        obtain_tree(python, NEWEST, destination=tree, log=_log())
    command = [*install, *TORCH, *_extras(), "--requirement", tree / "requirements.txt"]
    run_logged(command, title="Installing PyTorch and ComfyUI's requirements", log=_log())


def _create_venv(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        venv.create(folder, with_pip=True, symlinks=True)
    except Exception as error:
        raise SetupError(
            f"python3 -m venv failed ({error}). On Debian and Ubuntu: apt install python3-venv"
        ) from error


def _venv_inputs(folder: Path) -> str:
    constraints = hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()
    inputs = {
        # A virtual environment's scripts hold its own path: one that was moved is made again.
        "folder": str(folder),
        # Not the patch release: the environment's Python is a link to it.
        "python": sys.implementation.cache_tag,
        "constraints": constraints,
        "torch": TORCH,
        "extras": _extras(),
        "comfyui": NEWEST.sha256,
    }
    return json.dumps(inputs, indent=1)


def _extras() -> list[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [requirement for extra in extras.values() for requirement in extra]


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


def _write_atomically(path: Path, text: str) -> None:
    scratch = path.with_suffix(".partial")
    scratch.write_text(text)
    scratch.rename(path)


def _log() -> Path:
    return home() / "setup.log"


@contextlib.contextmanager
def home_lock() -> Iterator[None]:
    """Let one process at a time change the folder; not for nested use."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
