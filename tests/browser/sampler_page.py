"""The demo's graph, with what the pack's nodes show in it."""

from __future__ import annotations

import copy
import json

from tests.browser.comparison import Workflow
from tests.browser.front_end import WORKFLOWS

LOADER, REFERENCE, SAMPLER, DECODE, MEASURE = "2", "3", "7", "8", "11"
MEASURED = "livephoto_measured"
LOOP = "livephoto_preview"
DEMO: Workflow = json.loads((WORKFLOWS / "api" / "demo.json").read_text())


def measured_demo(*, steps: int = 3) -> Workflow:
    """The demo's graph in API format, with Motion Intensity behind it."""
    workflow = copy.deepcopy(DEMO)
    workflow[SAMPLER]["inputs"]["steps"] = steps
    inputs = {"images": [DECODE, 0], "livephoto": [LOADER, 0]}
    workflow[MEASURE] = {"class_type": "MotionIntensity", "inputs": inputs}
    workflow["12"] = {"class_type": "PreviewImage", "inputs": {"images": [MEASURE, 3]}}
    return workflow
