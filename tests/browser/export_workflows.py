"""Write `workflows/<name>.json` and `.jpg` from `workflows/api/<name>.json`. Run by hand:

    python3 -m harness python -m tests.browser.export_workflows [NAME …]

Needs a Chromium or Chrome. ComfyUI's own front end makes the files, so they are what "Save" would
write; the layout comes from `layout.py`, the notes from `notes/<name>.md`. A second run with the
same front end and browser changes nothing.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from harness.environment import prepare
from harness.server import ComfyUIServer
from tests.browser.front_end import (
    VIEWPORT,
    WORKFLOW_NAMES,
    WORKFLOWS,
    FrontEnd,
    find_browser,
    open_front_end,
    provide_files,
)
from tests.browser.layout import Layout, lay_out
from tests.public_files import models_property, public_files_of

NOTES = Path(__file__).parent / "notes"
PICTURE_SIZE_PX = (1280, 720)
PICTURE_MARGIN_PX = 40
JPEG_QUALITY = 88

HEIGHTS = """
() => Object.fromEntries(
    app.graph.nodes.map(node => [node.id, Math.ceil(node.computeSize()[1])])
)
"""

# A node with a picture takes on its size when the picture arrives.
PHOTO_IS_SHOWN = """
() => app.graph.nodes.every(node => node.type !== 'LoadImage' || node.imgs?.[0]?.naturalWidth)
"""

ARRANGE = """
({nodes, groups, note, text, models}) => {
    for (const node of app.graph.nodes) {
        const [x, y, width, height] = nodes[node.id]
        if (models[node.id].length) node.properties.models = models[node.id]
        node.pos = [x, y]
        node.setSize([width, height])
    }
    for (const [title, [x, y, width, height]] of groups) {
        const group = new LiteGraph.LGraphGroup(title)
        group.pos = [x, y]
        group.size = [width, height]
        app.graph.add(group)
    }
    const markdown = LiteGraph.createNode('MarkdownNote')
    app.graph.add(markdown)
    markdown.title = 'Read me'
    markdown.pos = [note[0], note[1]]
    markdown.setSize([note[2], note[3]])
    markdown.widgets[0].value = text
}
"""

# Through JSON, which leaves out what is undefined; the link of the browser would make it null.
SERIALIZE = "() => JSON.parse(JSON.stringify(app.graph.serialize()))"

ONLY_THE_GRAPH = """
#vue-app * { visibility: hidden !important }
#graph-canvas, #vue-app .dom-widget, #vue-app .dom-widget * { visibility: visible !important }
"""

ZOOM = """
({x, y, scale}) => {
    app.canvas.ds.scale = scale
    app.canvas.ds.offset = [x, y]
    app.canvas.setDirty(true, true)
}
"""


def export_workflow(front_end: FrontEnd, name: str) -> None:
    """Write the front end's file and the picture of one workflow."""
    api_workflow = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())
    page = front_end.page
    front_end.load_api_workflow(api_workflow)
    page.wait_for_function(PHOTO_IS_SHOWN)
    layout = lay_out(api_workflow, page.evaluate(HEIGHTS))
    text = (NOTES / f"{name}.md").read_text().strip()
    models = {
        key: models_property(public_files_of(node["inputs"])) for key, node in api_workflow.items()
    }
    page.evaluate(
        ARRANGE,
        {
            "nodes": layout.nodes,
            "groups": layout.groups,
            "note": layout.note,
            "text": text,
            "models": models,
        },
    )
    graph = page.evaluate(SERIALIZE)
    graph["id"] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"comfyui-livephoto/workflows/{name}"))
    _write(WORKFLOWS / f"{name}.json", graph)
    front_end.load_workflow(graph)
    page.wait_for_function(PHOTO_IS_SHOWN)
    take_picture(front_end, layout).save(WORKFLOWS / f"{name}.jpg", quality=JPEG_QUALITY)


def take_picture(front_end: FrontEnd, layout: Layout) -> Image.Image:
    """The whole graph on the canvas, without menus, at `PICTURE_SIZE_PX`."""
    bounds = layout.bounds
    width, height = VIEWPORT["width"], VIEWPORT["height"]
    scale = min(
        (width - 2 * PICTURE_MARGIN_PX) / bounds.width,
        (height - 2 * PICTURE_MARGIN_PX) / bounds.height,
    )
    x = width / scale / 2 - bounds.x - bounds.width / 2
    y = height / scale / 2 - bounds.y - bounds.height / 2
    front_end.page.evaluate(ZOOM, {"x": x, "y": y, "scale": scale})
    # Some frames for the widgets that are page elements to follow the canvas.
    front_end.page.wait_for_timeout(1000)
    screenshot = Image.open(io.BytesIO(front_end.page.screenshot()))
    return screenshot.convert("RGB").resize(PICTURE_SIZE_PX, Image.Resampling.LANCZOS)


def _write(path: Path, graph: dict[str, Any]) -> None:
    path.write_text(json.dumps(graph, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def front_end_for_export() -> Iterator[FrontEnd]:
    """The newest ComfyUI's front end; ends the script where there is no browser."""
    browser = find_browser()
    if browser is None:
        sys.exit("No Chromium or Chrome found. On Debian and Ubuntu: apt install chromium")
    server = ComfyUIServer(prepare(), device="cpu")
    provide_files(server)
    with server, open_front_end(server, browser) as front_end:
        yield front_end


def main() -> None:
    """Export the named workflows, or all."""
    with front_end_for_export() as front_end:
        front_end.page.add_style_tag(content=ONLY_THE_GRAPH)
        for name in sys.argv[1:] or WORKFLOW_NAMES:
            export_workflow(front_end, name)
            print(WORKFLOWS / f"{name}.json")


if __name__ == "__main__":
    main()
