"""The demo's graph, with what the pack's nodes show in it."""

from __future__ import annotations

import copy
import json

from tests.browser.comparison import Workflow
from tests.browser.front_end import WORKFLOWS

LOADER, REFERENCE, SAMPLER, DECODE, MEASURE = "2", "3", "7", "8", "12"
MEASURED = "livephoto_measured"
LOOP = "livephoto_preview"
PICTURES = """async ([canvas, enough, rounds]) => {
    const pictures = new Set()
    for (let i = 0; i < rounds && pictures.size < enough; i++) {
        pictures.add(canvas.toDataURL())
        await new Promise(resolve => setTimeout(resolve, 130))
    }
    return pictures.size
}"""
"""How many different pictures a canvas shows, until there are enough."""
DEMO: Workflow = json.loads((WORKFLOWS / "api" / "demo.json").read_text())


def short_demo(*, steps: int = 3) -> Workflow:
    """The demo's graph in API format, of a few steps, and with its chart shown."""
    workflow = copy.deepcopy(DEMO)
    workflow[SAMPLER]["inputs"]["steps"] = steps
    workflow["13"] = {"class_type": "PreviewImage", "inputs": {"images": [MEASURE, 3]}}
    return workflow
