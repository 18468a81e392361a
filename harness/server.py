"""Starting and stopping a ComfyUI server that has the pack installed."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from harness.environment import REPOSITORY, Environment
from harness.packages import tail

if TYPE_CHECKING:
    from harness.client import ComfyUIClient

PACK_FOLDER_NAME = "comfyui-livephoto"
START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 15

Directory = Literal["input", "output", "temp"]


class ServerError(RuntimeError):
    """The server did not start; the message ends with its last log lines."""


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server itself does: a port that was just given back counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def has_nvidia_gpu() -> bool:
    """Return whether an NVIDIA GPU with a working driver is there."""
    if shutil.which("nvidia-smi") is None:
        return False
    listing = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    return listing.returncode == 0 and "GPU" in listing.stdout


def install_pack(pack: Path, base_directory: Path) -> Path:
    """Put a node pack into a base directory's `custom_nodes` and return where it lies.

    A symbolic link, so that an edit needs a restart and no copy; a copy on file systems without.
    """
    target = base_directory / "custom_nodes" / PACK_FOLDER_NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)
    try:
        target.symlink_to(pack, target_is_directory=True)
    except OSError:
        leave_out = shutil.ignore_patterns(".git", ".comfyui", "__pycache__")
        shutil.copytree(pack, target, ignore=leave_out)
    return target


class ComfyUIServer:
    """A ComfyUI process with folders of its own; nothing is written to ComfyUI's source tree.

    Use it as a context manager, or call `start` and `stop`.

    Args:
        environment: What to start.
        pack: Folder of the node pack to install; None for ComfyUI alone.
        base_directory: Folder for models, custom_nodes, input, output, temp and user. By default a
            temporary one that `stop` removes.
        port: Port on 127.0.0.1; by default a free one.
        device: "auto" leaves an NVIDIA GPU in use, "cpu" does not.
        arguments: More arguments for ComfyUI, such as "--use-pytorch-cross-attention".
    """

    def __init__(
        self,
        environment: Environment,
        *,
        pack: Path | None = REPOSITORY,
        base_directory: Path | None = None,
        port: int | None = None,
        device: Literal["auto", "cpu"] = "auto",
        arguments: Sequence[str] = (),
    ) -> None:
        if device not in ("auto", "cpu"):
            raise ValueError(f"device: expected 'auto' or 'cpu', got {device!r}.")
        self.environment = environment
        self.pack = pack
        self.port = port or free_port()
        self.arguments = [*arguments]
        if device == "cpu" or not has_nvidia_gpu():
            self.arguments.append("--cpu")
        self._is_temporary = base_directory is None
        self.base_directory = (base_directory or _temporary_folder()).resolve()
        self.log_path = self.base_directory / "server.log"
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """Address of the server, without a closing slash."""
        return f"http://127.0.0.1:{self.port}"

    def directory(self, kind: Directory) -> Path:
        """Return the server's input, output or temp folder."""
        return self.base_directory / kind

    def models(self, kind: str) -> Path:
        """Return the folder for one kind of model, such as "checkpoints", made if need be."""
        folder = self.base_directory / "models" / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def client(self) -> ComfyUIClient:
        """Return a client that knows where this server's files lie."""
        from harness.client import ComfyUIClient

        kinds: tuple[Directory, ...] = ("input", "output", "temp")
        return ComfyUIClient(self.url, {kind: self.directory(kind) for kind in kinds})

    def log_tail(self, num_lines: int = 40) -> str:
        """Return the last lines of the server's log."""
        return tail(self.log_path, num_lines)

    def start(self) -> ComfyUIServer:
        """Start the server and return when it answers.

        Raises:
            ServerError: If it stops, does not answer in time, or could not import the pack, or
                another program has the port.
        """
        if not _is_free(self.port):
            raise ServerError(
                f"Port {self.port} is in use, perhaps by a ComfyUI that runs already. Stop that "
                "one, or take another port: python3 -m harness serve --port 8189."
            )
        for name in ("input", "output", "temp", "user", "models", "custom_nodes"):
            (self.base_directory / name).mkdir(parents=True, exist_ok=True)
        if self.pack is not None:
            install_pack(self.pack, self.base_directory)
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.base_directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.stop)
        try:
            self._wait_until_ready()
            self._check_pack()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the server and all it started; without effect when it does not run."""
        atexit.unregister(self.stop)
        if self._process is not None:
            _end_process_group(self._process)
            self._process = None
        if self._is_temporary:
            shutil.rmtree(self.base_directory, ignore_errors=True)

    def wait(self) -> None:
        """Return when the server process ends by itself."""
        assert self._process is not None, "start the server first"
        self._process.wait()

    @property
    def is_running(self) -> bool:
        """Whether the server process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def process_id(self) -> int:
        """Process id, for measuring memory; the server must be running."""
        assert self._process is not None, "start the server first"
        return self._process.pid

    @property
    def pack_import_seconds(self) -> float | None:
        """Seconds the pack took in ComfyUI's "Import times" listing; None if it was not listed."""
        found = self._pack_listing()
        return float(found[1]) if found else None

    def __enter__(self) -> ComfyUIServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _command(self) -> list[str]:
        command = [self.environment.python, self.environment.comfyui / "main.py"]
        command += ["--base-directory", self.base_directory, "--port", self.port]
        # The database's default place is in the source tree.
        command += ["--database-url", f"sqlite:///{self.base_directory / 'user' / 'comfyui.db'}"]
        command += ["--listen", "127.0.0.1", "--disable-auto-launch", "--disable-api-nodes"]
        return [*map(str, command), *self.arguments]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        assert self._process is not None, "the process was started"
        while not self._answers():
            if self._process.poll() is not None:
                raise ServerError(self._failure(f"ended with status {self._process.returncode}"))
            if time.monotonic() > deadline:
                raise ServerError(self._failure(f"did not answer within {START_TIMEOUT_S} s"))
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/system_stats", timeout=5) as response:
                version = json.load(response)["system"]["comfyui_version"]
        except (urllib.error.URLError, OSError):
            return False
        return version == self.environment.version

    def _check_pack(self) -> None:
        listing = self._pack_listing()
        if self.pack is not None and (listing is None or listing[2]):
            raise ServerError(self._failure(f"could not import the pack in {self.pack}"))

    def _pack_listing(self) -> re.Match[str] | None:
        log = self.log_path.read_text(encoding="utf-8", errors="replace")
        name = re.escape(PACK_FOLDER_NAME)
        return re.search(
            rf"(\d+\.\d) seconds( \(IMPORT FAILED\))?: .*{name}\s*$", log, re.MULTILINE
        )

    def _failure(self, what: str) -> str:
        version = self.environment.version
        return f"ComfyUI {version} {what}. Last lines of {self.log_path}:\n{self.log_tail()}"


def _temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="comfyui-livephoto-"))


def _end_process_group(process: subprocess.Popen) -> None:
    for end_signal in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, end_signal)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
