"""A client for ComfyUI's HTTP interface and websocket."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import requests

from harness.errors import (
    ConnectionLostError,
    WorkflowInterruptedError,
    node_failure,
    refusal,
)

HTTP_TIMEOUT_S = 60

# The first four bytes of a binary websocket message: a preview, and a preview with metadata.
PREVIEW_EVENTS = (1, 4)

Workflow = dict[str, dict[str, Any]]
"""A workflow in ComfyUI's API format: node id → {"class_type": …, "inputs": …}."""


@dataclass(frozen=True)
class Progress:
    """How far a node is: `value` of `maximum` steps."""

    node_id: str
    class_type: str
    value: int
    maximum: int


@dataclass(frozen=True)
class WorkflowResult:
    """What a finished run left.

    Args:
        prompt_id: ComfyUI's id of the run.
        outputs: Node id → what the node showed, as in ComfyUI's history.
        executed: Ids of the nodes that ran, in order; nodes taken from the cache are not in it.
        num_previews: Preview images that were sent.
        seconds: Wall-clock time.
        files: Saved and temporary files that the outputs name.
    """

    prompt_id: str
    outputs: dict[str, dict[str, Any]]
    executed: tuple[str, ...]
    num_previews: int
    seconds: float
    files: tuple[Path, ...]


@dataclass
class _Run:
    """State of the run that the websocket's messages belong to."""

    workflow: Workflow
    report: Callable[[Progress], None]
    prompt_id: str = ""
    executed: list[str] = field(default_factory=list)
    num_previews: int = 0
    is_finished: bool = False


class ComfyUIClient:
    """Runs workflows on a ComfyUI server.

    Args:
        url: Address of the server, such as "http://127.0.0.1:8188".
        directories: Where the server's "input", "output" and "temp" folders lie on this machine.
    """

    def __init__(self, url: str, directories: Mapping[str, Path]) -> None:
        self.url = url.rstrip("/")
        self.directories = dict(directories)

    def run_workflow(
        self,
        workflow: Workflow,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        timeout_s: float = 900,
    ) -> WorkflowResult:
        """Queue a workflow, wait for its end and return what it left.

        Args:
            workflow: In API format.
            on_progress: Called with each progress message; may call `interrupt`.
            timeout_s: After this time the run is interrupted.
        Raises:
            WorkflowError: If ComfyUI refuses the workflow or a node fails.
            WorkflowInterruptedError: If the run was interrupted.
            ConnectionLostError: If the server goes away.
            TimeoutError: If `timeout_s` passes.
        """
        _check_api_format(workflow)
        run = _Run(workflow, on_progress or _ignore)
        started = time.monotonic()
        asyncio.run(self._follow(run, timeout_s))
        outputs = self._get(f"/history/{run.prompt_id}")[run.prompt_id]["outputs"]
        return WorkflowResult(
            prompt_id=run.prompt_id,
            outputs=outputs,
            executed=tuple(run.executed),
            num_previews=run.num_previews,
            seconds=time.monotonic() - started,
            files=tuple(self.files(outputs)),
        )

    def interrupt(self) -> None:
        """Interrupt the workflow that runs."""
        self._post("/interrupt", {})

    def free(self) -> None:
        """Ask the server to drop all models and cached results."""
        self._post("/free", {"unload_models": True, "free_memory": True})

    def object_info(self, node_id: str | None = None) -> dict[str, Any]:
        """Return the server's description of one node class, or of all."""
        return self._get(f"/object_info/{node_id}" if node_id else "/object_info")

    def upload_image(self, path: Path) -> str:
        """Put an image file into the server's input folder and return the name LoadImage takes."""
        with path.open("rb") as stream:
            files = {"image": (path.name, stream)}
            fields = {"overwrite": "true"}
            response = self._request("POST", "/upload/image", files=files, data=fields)
        response.raise_for_status()
        return response.json()["name"]

    async def _follow(self, run: _Run, timeout_s: float) -> None:
        client_id = uuid.uuid4().hex
        address = f"{self.url}/ws?clientId={client_id}"
        try:
            # No limit on messages: preview images can be larger than aiohttp's 4 MiB.
            async with (
                asyncio.timeout(timeout_s),
                aiohttp.ClientSession() as session,
                session.ws_connect(address, max_msg_size=0) as socket,
            ):
                run.prompt_id = self._queue(run.workflow, client_id)
                async for message in socket:
                    _handle(run, message)
                    if run.is_finished:
                        return
        except TimeoutError:
            self._withdraw(run.prompt_id)
            raise TimeoutError(
                f"The workflow was not done after {timeout_s:g} s and was interrupted."
            ) from None
        except aiohttp.ClientConnectionError as error:
            raise ConnectionLostError(f"No ComfyUI answers at {self.url}: {error}") from error
        raise ConnectionLostError(f"ComfyUI at {self.url} closed the connection during the run.")

    def _queue(self, workflow: Workflow, client_id: str) -> str:
        payload = {"prompt": workflow, "client_id": client_id}
        response = self._request("POST", "/prompt", json=payload)
        answer = response.json()
        # ComfyUI runs the valid outputs of a workflow that also has invalid ones; we want all.
        if response.status_code == 200 and answer["node_errors"]:
            self._withdraw(answer["prompt_id"])
        if response.status_code != 200 or answer["node_errors"]:
            raise refusal(answer)
        return answer["prompt_id"]

    def _withdraw(self, prompt_id: str) -> None:
        self._post("/queue", {"delete": [prompt_id]})
        self._post("/interrupt", {"prompt_id": prompt_id})

    def files(self, outputs: dict[str, dict[str, Any]]) -> list[Path]:
        """Return where the files lie that nodes tell of in a run's outputs, by node id."""
        entries = [
            entry
            for output in outputs.values()
            for values in output.values()
            if isinstance(values, list)
            for entry in values
            if isinstance(entry, dict) and {"filename", "subfolder", "type"} <= entry.keys()
        ]
        return [
            self.directories[entry["type"]] / entry["subfolder"] / entry["filename"]
            for entry in entries
        ]

    def _get(self, path: str) -> dict[str, Any]:
        response = self._request("GET", path)
        response.raise_for_status()
        return response.json()

    def _post(self, path: str, payload: dict[str, Any]) -> None:
        self._request("POST", path, json=payload).raise_for_status()

    def _request(self, method: str, path: str, **content: Any) -> requests.Response:
        try:
            return requests.request(method, self.url + path, timeout=HTTP_TIMEOUT_S, **content)
        except requests.ConnectionError as error:
            raise ConnectionLostError(f"No ComfyUI answers at {self.url}: {error}") from error


def _ignore(progress: Progress) -> None:
    del progress


def _check_api_format(workflow: Workflow) -> None:
    if "nodes" in workflow and "links" in workflow:
        raise ValueError(
            "workflow: this is the front end's format; expected API format. In ComfyUI: "
            "Workflow → Export (API)."
        )
    without_class = [key for key, node in workflow.items() if "class_type" not in node]
    if not workflow or without_class:
        raise ValueError(
            'workflow: expected API format, {"1": {"class_type": …, "inputs": …}, …}; '
            f"entries without class_type: {without_class or 'there are no entries'}."
        )


def _handle(run: _Run, message: aiohttp.WSMessage) -> None:
    """Take in one websocket message; raises if it says that the run failed."""
    if message.type == aiohttp.WSMsgType.BINARY:
        run.num_previews += int.from_bytes(message.data[:4], "big") in PREVIEW_EVENTS
    if message.type != aiohttp.WSMsgType.TEXT:
        return
    content = message.json()
    data = content["data"]
    if data.get("prompt_id") != run.prompt_id:
        return
    match content["type"]:
        # "execution_success" comes before the history is written, this after it.
        case "executing" if data["node"] is None:
            run.is_finished = True
        case "executing":
            run.executed.append(data["node"])
        case "progress":
            class_type = run.workflow.get(data["node"], {}).get("class_type", "")
            run.report(Progress(data["node"], class_type, data["value"], data["max"]))
        case "execution_interrupted":
            where = f"node {data['node_id']} ({data['node_type']})"
            raise WorkflowInterruptedError(f"The workflow was interrupted in {where}.")
        case "execution_error":
            raise node_failure(data)
