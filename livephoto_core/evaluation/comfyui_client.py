"""The few calls of ComfyUI's HTTP interface that a benchmark needs; standard library only."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from .protocol import VIDEO_SUFFIX, Workflow

_TIMEOUT_S = 60
_POLL_S = 0.5


class ServerError(ValueError):
    """The server cannot be reached, or refuses what it is asked."""


class RunError(ValueError):
    """A workflow failed while it ran."""


class ComfyUIClient:
    """Runs workflows on a ComfyUI that runs somewhere.

    Args:
        url: Such as "http://127.0.0.1:8188".
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ServerError(f"--server must start with http:// or https://, got {url!r}.")
        self.url = url.rstrip("/")

    def upload(self, path: Path) -> str:
        """Puts a picture into the input folder; returns the name that LoadImage takes.

        Another picture of the same name stays: ComfyUI then gives this one another name.
        """
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="image"; '
            f'filename="{urllib.parse.quote(path.name)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        answer = self._call("/upload/image", body, f"multipart/form-data; boundary={boundary}")
        name, subfolder = answer["name"], answer.get("subfolder")
        return f"{subfolder}/{name}" if subfolder else name

    def run(self, workflow: Workflow) -> bytes:
        """Runs a workflow and returns the video it saved.

        Raises:
            ServerError: If the server refuses the workflow.
            RunError: If a node fails, no video comes out, or the server forgets the run.
        """
        # Without a client ComfyUI 0.18 says nothing of what it has made before.
        body = json.dumps({"prompt": workflow, "client_id": "benchmark"}).encode()
        prompt_id = self._call("/prompt", body, "application/json")["prompt_id"]
        entry = self._wait(prompt_id)
        if entry.get("status", {}).get("status_str") == "error":
            raise RunError(_failure(entry))
        return self._fetch(_video(entry["outputs"]))

    def _wait(self, prompt_id: str) -> dict[str, Any]:
        """The history's entry of a run, once it has ended."""
        while True:
            # First the queue: what leaves it between the two calls is in the history by then.
            is_queued = prompt_id in self._queued()
            history = self._call(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            if not is_queued:
                raise RunError(
                    "the server no longer knows of this run: it was restarted, or the run was "
                    "taken out of its queue or history."
                )
            time.sleep(_POLL_S)

    def _queued(self) -> set[str]:
        """Runs that wait or are being worked on."""
        queue = self._call("/queue")
        return {run[1] for runs in ("queue_running", "queue_pending") for run in queue[runs]}

    def _fetch(self, file: dict[str, str]) -> bytes:
        names = ("filename", "subfolder", "type")
        query = urllib.parse.urlencode({name: file[name] for name in names})
        return self._open(urllib.request.Request(f"{self.url}/view?{query}"))

    def _call(self, path: str, body: bytes | None = None, content_type: str = "") -> Any:
        headers = {"Content-Type": content_type} if content_type else {}
        return json.loads(self._open(urllib.request.Request(self.url + path, body, headers)))

    def _open(self, request: urllib.request.Request) -> bytes:
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            detail = error.read().decode(errors="replace")[:2000]
            raise ServerError(f"{self.url} refuses ({error.code}): {detail}") from error
        except OSError as error:
            raise ServerError(f"--server: no ComfyUI answers at {self.url} ({error}).") from error


def _failure(entry: dict[str, Any]) -> str:
    for kind, data in entry["status"].get("messages", []):
        if kind == "execution_error":
            return f"{data.get('node_type')}: {str(data.get('exception_message')).strip()}"
    return "the run was interrupted"


def _video(outputs: dict[str, Any]) -> dict[str, str]:
    files = [
        file
        for output in outputs.values()
        for values in output.values()
        if isinstance(values, list)
        for file in values
        if isinstance(file, dict) and str(file.get("filename", "")).endswith(VIDEO_SUFFIX)
    ]
    saved = [file for file in files if file.get("type") == "output"] or files
    if not saved:
        raise RunError(f"no {VIDEO_SUFFIX} came out. End the workflow with SaveVideo, format mp4.")
    return saved[0]
