"""Write `subgraphs/<name>.json`, the blueprint in ComfyUI's node library. Run by hand:

    python3 -m harness python -m tests.browser.export_blueprint

Needs a Chromium or Chrome. ComfyUI's own front end makes the subgraph and publishes it, from the
nodes of `workflows/api/pia.json` that hold no file; a second run changes nothing.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import Any
from urllib.parse import quote

import requests

from tests.browser.comparison import Workflow
from tests.browser.export_workflows import HEIGHTS, front_end_for_export
from tests.browser.front_end import (
    WORKFLOWS,
    FrontEnd,
)
from tests.browser.layout import lay_out

BLUEPRINTS = WORKFLOWS.parent / "subgraphs"
# ComfyUI shows the file's name. With the pack's, so that it takes no other blueprint's place.
NAME = "Animate a photo (LivePhoto)"
DESCRIPTION = (
    "A photo, a sentence and a motion intensity in, a video out. Connect model, clip and vae of an "
    "SD-1.5 checkpoint (with any LoRAs) and a motion checkpoint from Load LivePhoto; clip_vision "
    "only if that one has content tokens."
)
SEARCH_ALIASES = ["image to video", "i2v", "animatediff", "livephoto"]

# Room for the title, and for a sentence of some length.
MIN_SIZE_PX = (360, 560)
INSIDE = ("4", "5", "6", "7", "8", "9", "10")
VALUES = {"5": {"text": ""}, "7": {"overrides": ""}}

Slots = list[tuple[str, list[tuple[str, str]]]]
"""Name outside → node and slot inside, from top to bottom."""

INPUTS: Slots = [
    ("model", [("8", "model")]),
    ("clip", [("5", "clip"), ("6", "clip")]),
    ("vae", [("4", "vae"), ("9", "vae")]),
    ("livephoto", [("4", "livephoto"), ("7", "livephoto"), ("8", "livephoto")]),
    ("clip_vision", [("4", "clip_vision")]),
    ("image", [("4", "image")]),
    ("sentence", [("5", "text")]),
    ("negative", [("6", "text")]),
    ("motion_intensity", [("8", "motion_intensity")]),
    ("width", [("4", "width")]),
    ("height", [("4", "height")]),
    ("frames", [("7", "frames"), ("8", "frames")]),
    ("seed", [("8", "seed")]),
    ("steps", [("8", "steps")]),
    ("cfg", [("8", "cfg")]),
    ("fps", [("10", "fps")]),
    ("fit", [("4", "fit")]),
    ("overrides", [("7", "overrides")]),
]
OUTPUTS: Slots = [("video", [("10", "VIDEO")]), ("images", [("9", "IMAGE")])]

ARRANGE = """
boxes => {
    for (const node of app.graph.nodes) {
        const [x, y, width, height] = boxes[node.id]
        node.pos = [x, y]
        node.setSize([width, height])
    }
}
"""

MAKE_SUBGRAPH = """
({inputs, outputs, name, minSize}) => {
    const {subgraph, node} = app.graph.convertToSubgraph(new Set(app.graph.nodes))
    // Those that the front end chose to promote.
    for (const input of [...subgraph.inputs]) subgraph.removeInput(input)
    for (const [outside, targets] of inputs) {
        let input
        for (const [id, inside] of targets) {
            const target = subgraph.getNodeById(id)
            const slot = target.inputs.find(slot => slot.name === inside)
            input ??= subgraph.addInput(outside, slot.type)
            input.connect(slot, target)
        }
    }
    for (const [outside, [[id, inside]]] of outputs) {
        const source = subgraph.getNodeById(id)
        const slot = source.outputs.find(slot => slot.name === inside)
        subgraph.addOutput(outside, slot.type).connect(slot, source)
    }
    node.title = name
    node.pos = [0, 0]
    const [width, height] = node.computeSize()
    node.setSize([Math.max(width, minSize[0]), Math.max(height, minSize[1])])
    app.canvas.select(node)
}
"""

PUBLISH = """
name => app.extensionManager.command.execute('Comfy.PublishSubgraph', {metadata: {name}})
"""

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def inside_workflow() -> Workflow:
    """The nodes of the blueprint, in API format, without links from outside."""
    template = json.loads((WORKFLOWS / "api" / "pia.json").read_text())
    workflow = {key: template[key] for key in INSIDE}
    for key, node in workflow.items():
        node["inputs"] = {
            name: value
            for name, value in node["inputs"].items()
            if not isinstance(value, list) or value[0] in workflow
        } | VALUES.get(key, {})
    return workflow


def publish_blueprint(front_end: FrontEnd) -> dict[str, Any]:
    """Make the subgraph in the front end, publish it, and return what the front end saved."""
    workflow, page = inside_workflow(), front_end.page
    front_end.load_api_workflow(workflow)
    page.evaluate(ARRANGE, lay_out(workflow, page.evaluate(HEIGHTS)).nodes)
    page.evaluate(
        MAKE_SUBGRAPH,
        {"inputs": INPUTS, "outputs": OUTPUTS, "name": NAME, "minSize": MIN_SIZE_PX},
    )
    page.evaluate(PUBLISH, NAME)
    path = quote(f"subgraphs/{NAME}.json", safe="")
    response = requests.get(f"{front_end.url}/userdata/{path}", timeout=60)
    response.raise_for_status()
    return response.json()


def finish_blueprint(graph: dict[str, Any]) -> str:
    """The file: with what the node library shows, and with ids that every run gives."""
    graph["extra"] = graph.get("extra", {}) | {
        "BlueprintDescription": DESCRIPTION,
        "BlueprintSearchAliases": SEARCH_ALIASES,
    }
    [subgraph] = graph["definitions"]["subgraphs"]
    subgraph["category"] = "LivePhoto"
    text = json.dumps(graph, indent=2, ensure_ascii=False) + "\n"
    for number, found in enumerate(dict.fromkeys(UUID.findall(text))):
        text = text.replace(found, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{NAME}/{number}")))
    return text


def main() -> None:
    """Export the blueprint."""
    path = BLUEPRINTS / f"{NAME}.json"
    path.unlink(missing_ok=True)  # or the front end asks whether to replace it
    with front_end_for_export() as front_end:
        text = finish_blueprint(publish_blueprint(front_end))
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    print(path)


if __name__ == "__main__":
    main()
