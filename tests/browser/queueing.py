"""Queueing the graph in the front end, as "Run" does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import requests

from tests.browser.front_end import FrontEnd

HISTORY_TRIES, HISTORY_INTERVAL_S = 100, 0.1

# The listeners come first: a run from the cache ends before queuePrompt returns.
QUEUE = """
async () => {
    const ended = new Promise((resolve, reject) => {
        app.api.addEventListener('execution_success', resolve, {once: true})
        app.api.addEventListener(
            'execution_error',
            ({detail}) => reject(new Error(detail.exception_message)),
            {once: true},
        )
    })
    await app.queuePrompt(0)
    await ended
}
"""


@dataclass(frozen=True)
class QueuedRun:
    """A run that ended well.

    Args:
        prompt: What the front end sent, in API format.
        outputs: Node id → what the node showed, as in ComfyUI's history.
    """

    prompt: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]


def queue(front_end: FrontEnd) -> QueuedRun:
    """Queue the graph that the front end shows, and wait until it has run."""
    with front_end.page.expect_response(lambda response: response.url.endswith("/prompt")) as sent:
        front_end.page.evaluate(QUEUE)
    prompt_id = sent.value.json()["prompt_id"]
    prompt = sent.value.request.post_data_json["prompt"]
    return QueuedRun(prompt, _history(front_end, prompt_id)["outputs"])


def _history(front_end: FrontEnd, prompt_id: str) -> dict[str, Any]:
    """Of a run that has ended: ComfyUI writes it a moment later."""
    for _ in range(HISTORY_TRIES):
        history = requests.get(f"{front_end.url}/history/{prompt_id}", timeout=60).json()
        if prompt_id in history:
            return history[prompt_id]
        time.sleep(HISTORY_INTERVAL_S)
    raise TimeoutError(f"ComfyUI wrote no history of {prompt_id}.")
