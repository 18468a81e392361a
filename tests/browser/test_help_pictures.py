"""The picture of each help page: small, there, and shown in ComfyUI's help panel."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect

from harness.server import PACK_FOLDER_NAME
from tests.browser.export_help_pictures import PICTURES
from tests.browser.front_end import TRY_TIMEOUT_MS, try_again
from tests.browser.layout import TITLE_PX

pytestmark = pytest.mark.browser

NODE_TYPES = sorted(path.stem for path in PICTURES.glob("*.md"))
MAX_BYTES = 60_000

NODE_AT_PX = (700, 400)
PLACE_NODE = """
([x, y]) => {
    const [node] = app.graph.nodes
    app.canvas.ds.scale = 1
    app.canvas.ds.offset = [x - node.pos[0], y - node.pos[1]]
    app.canvas.setDirty(true, true)
}
"""

each_node = pytest.mark.parametrize("node_type", NODE_TYPES)


@each_node
def test_picture_is_small_and_not_blank(node_type):
    path = PICTURES / f"{node_type}.webp"
    assert path.stat().st_size < MAX_BYTES
    with Image.open(path) as picture:
        darkest, brightest = picture.convert("L").getextrema()
    assert brightest - darkest > 150


def open_help(page):
    """Selects the node and opens its help; the toolbar may be made anew between the two."""

    def open_it() -> None:
        page.mouse.click(NODE_AT_PX[0] + 100, NODE_AT_PX[1] - TITLE_PX // 2)
        page.get_by_test_id("info-button").click(timeout=TRY_TIMEOUT_MS)

    try_again(open_it)


@each_node
def test_help_panel_shows_the_picture(opened, node_type, screenshot):
    assert f"]({node_type}.webp)" in (PICTURES / f"{node_type}.md").read_text(encoding="utf-8")
    front_end, page = opened.front_end, opened.front_end.page
    front_end.load_api_workflow({"1": {"class_type": node_type, "inputs": {}}})
    page.evaluate(PLACE_NODE, NODE_AT_PX)
    open_help(page)
    picture = page.locator(".node-help-content img")
    expect(picture).to_have_js_property("complete", True)
    with Image.open(PICTURES / f"{node_type}.webp") as expected:
        expect(picture).to_have_js_property("naturalWidth", expected.width)
    address = picture.evaluate("picture => picture.src")
    screenshot(f"help_{node_type}")
    assert urlsplit(address).path == f"/extensions/{PACK_FOLDER_NAME}/docs/{node_type}.webp"
