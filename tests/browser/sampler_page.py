"""The demo in ComfyUI's front end: its graph, runs of it, and what the pack's nodes show."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.browser.front_end import WORKFLOWS, FrontEnd

LOADER, REFERENCE, SAMPLER, DECODE, MEASURE = "2", "3", "7", "8", "11"
DEMO = json.loads((WORKFLOWS / "api" / "demo.json").read_text())

_WIDGET = "([id, name]) => app.graph.getNodeById(id).widgets.find(w => w.name === name)"


def measured_demo(*, steps: int = 3) -> dict[str, Any]:
    """The demo's graph in API format, with Motion Intensity behind it."""
    workflow = copy.deepcopy(DEMO)
    workflow[SAMPLER]["inputs"]["steps"] = steps
    workflow[MEASURE] = {"class_type": "MotionIntensity", "inputs": {"images": [DECODE, 0]}}
    workflow["12"] = {"class_type": "PreviewImage", "inputs": {"images": [MEASURE, 3]}}
    return workflow


def show_previews(front_end: FrontEnd) -> None:
    """Switches previews on in the front end's settings, from where every prompt takes them."""
    front_end.page.evaluate(
        "app.extensionManager.setting.set('Comfy.Execution.PreviewMethod', 'latent2rgb')"
    )


def shown_text(front_end: FrontEnd, node: str, name: str) -> str | None:
    """What a text of the pack's says on a node; None where there is none."""
    return front_end.page.evaluate(
        f"([id, name]) => ({_WIDGET})([id, name])?.element.textContent ?? null", [node, name]
    )


def wait_for_text(front_end: FrontEnd, node: str, name: str, part: str) -> str:
    """Waits until a text of the pack's on a node has `part` in it, and returns all of it."""
    front_end.page.wait_for_function(
        f"([id, name, part]) => ({_WIDGET})([id, name])?.element.textContent.includes(part)",
        arg=[node, name, part],
        timeout=30_000,
    )
    text = shown_text(front_end, node, name)
    assert text is not None
    return text


def set_widget(front_end: FrontEnd, node: str, name: str, value: Any) -> None:
    """Gives an input a value as an artist does who moves its widget."""
    front_end.page.evaluate(
        f"([id, name, value]) => {{ const widget = ({_WIDGET})([id, name]);"
        " widget.value = value; widget.callback?.(value) }",
        [node, name, value],
    )


@contextmanager
def quiet_console(front_end: FrontEnd) -> Iterator[None]:
    """Fails if the console gets an error or a warning in which the pack is named."""
    messages: list[str] = []

    def note(message: Any) -> None:
        if message.type in ("error", "warning"):
            messages.append(f"{message.text} ({message.location.get('url', '')})")

    front_end.console_errors.clear()
    front_end.page.on("console", note)
    try:
        yield
    finally:
        front_end.page.remove_listener("console", note)
    said = [*messages, *front_end.console_errors]
    assert [text for text in said if "livephoto" in text.lower()] == []
