"""Queueing the graph in the front end, as "Run" does."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import requests

from tests.browser.front_end import FrontEnd

HISTORY_TRIES, HISTORY_INTERVAL_S = 100, 0.1

# The listeners come first: a run from the cache ends before queuePrompt returns.
RUN = """
async () => {
    const ends = ["execution_success", "execution_error", "execution_interrupted"]
    const ended = new Promise((resolve, reject) => {
        const once = { once: true }
        for (const type of ends)
            app.api.addEventListener(type, ({ detail }) => resolve({ type, ...detail }), once)
        setTimeout(() => reject(new Error("the run did not end")), 240_000)
    })
    await app.queuePrompt(0)
    return await ended
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


def run(front_end: FrontEnd) -> dict[str, Any]:
    """Queue the graph and wait for its end: type and detail of ComfyUI's last message."""
    return front_end.page.evaluate(RUN)


def queue(front_end: FrontEnd) -> QueuedRun:
    """Queue the graph that the front end shows, and wait until it has run well."""
    with front_end.page.expect_response(lambda response: response.url.endswith("/prompt")) as sent:
        ended = run(front_end)
    if ended["type"] != "execution_success":
        raise RuntimeError(f"{ended['type']}: {ended.get('exception_message')}")
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
