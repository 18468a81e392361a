"""Write `nodes/web/docs/<NodeId>.webp`, the pictures of the help pages. Run by hand:

    python3 -m harness python -m tests.browser.export_help_pictures [NODE_ID …]

Needs a Chromium or Chrome. The nodes stand in ComfyUI's own front end after a run of the demo, so
they show what they show to an artist.
"""

from __future__ import annotations

import io
import json
import sys

from PIL import Image

from tests.browser.comparison import Workflow
from tests.browser.export_workflows import ONLY_THE_GRAPH, ZOOM, front_end_for_export
from tests.browser.front_end import WORKFLOWS, FrontEnd
from tests.browser.layout import DEFAULT_WIDTH_PX, TITLE_PX, WIDTHS_PX
from tests.browser.queueing import queue

PICTURES = WORKFLOWS.parent / "nodes" / "web" / "docs"
SCALE = 2
MARGIN_PX = 20
QUALITY = 90

# They would lead out of the picture.
HIDE_LINKS = "() => app.extensionManager.setting.set('Comfy.LinkRenderMode', LiteGraph.HIDDEN_LINK)"

# Far from each other, each as large as what it shows, and with a seed that stays.
SPREAD = """
widths => app.graph.nodes.forEach((node, number) => {
    node.pos = [number * 2000, 0]
    node.setSize([widths[node.type], node.computeSize()[1]])
    const seed = node.widgets?.find(widget => widget.name === 'seed')
    if (seed) seed.value = 0
})
"""

PLACE = """
type => {
    const node = app.graph.nodes.find(node => node.type === type)
    const {left, top} = app.canvas.canvas.getBoundingClientRect()
    return [...node.pos, ...node.size, left, top]
}
"""


def demo_with_all_nodes() -> Workflow:
    """The demo, and beside it the nodes that it has no use for."""
    workflow = json.loads((WORKFLOWS / "api" / "demo.json").read_text())
    more = {
        "MotionIntensity": {"images": ["8", 0], "livephoto": ["2", 0]},
        "PreviewImage": {"images": ["20", 3]},
        "ApplyLivePhoto": {},
        "PriorInversion": {},
        "LivePhotoDINOv2Loader": {"file": "dinov2-large.safetensors"},
    }
    for number, (class_type, inputs) in enumerate(more.items(), start=20):
        workflow[str(number)] = {"class_type": class_type, "inputs": inputs}
    return workflow


def show_nodes(front_end: FrontEnd) -> None:
    """Run the demo, and spread its nodes."""
    page = front_end.page
    page.evaluate(HIDE_LINKS)
    front_end.show_previews()
    workflow = demo_with_all_nodes()
    front_end.load_api_workflow(workflow)
    queue(front_end)
    # Pictures arrive after the run, and make room for themselves.
    page.wait_for_timeout(3000)
    classes = {node["class_type"] for node in workflow.values()}
    page.evaluate(SPREAD, {name: WIDTHS_PX.get(name, DEFAULT_WIDTH_PX) for name in classes})
    page.evaluate("app.canvas.deselectAll()")


def take_picture(front_end: FrontEnd, node_type: str) -> Image.Image:
    """One node with its title bar, at `SCALE`."""
    page = front_end.page
    x, y, width, height, left, top = page.evaluate(PLACE, node_type)
    corner = MARGIN_PX / SCALE
    page.evaluate(ZOOM, {"x": corner - x, "y": corner + TITLE_PX - y, "scale": SCALE})
    # Some frames for the widgets that are page elements to follow the canvas.
    page.wait_for_timeout(1000)
    clip = {
        "x": left,
        "y": top,
        "width": width * SCALE + 2 * MARGIN_PX,
        "height": (height + TITLE_PX) * SCALE + 2 * MARGIN_PX,
    }
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")


def main() -> None:
    """Take the pictures of the named nodes, or of all that have a help page."""
    with front_end_for_export() as front_end:
        show_nodes(front_end)
        front_end.page.add_style_tag(content=ONLY_THE_GRAPH)
        for node_type in sys.argv[1:] or sorted(path.stem for path in PICTURES.glob("*.md")):
            path = PICTURES / f"{node_type}.webp"
            take_picture(front_end, node_type).save(path, quality=QUALITY, method=6)
            print(path)


if __name__ == "__main__":
    main()
