"""ComfyUI's template browser, as an artist uses it: find the pack, open a template, press Run."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from harness.server import PACK_FOLDER_NAME
from tests.browser.comparison import links_and_values
from tests.browser.front_end import TRY_TIMEOUT_MS, WORKFLOW_NAMES, WORKFLOWS, FrontEnd, try_again

pytestmark = pytest.mark.browser

PICTURE_WIDTH_PX = 1280
RUN_TIMEOUT_MS = 240_000

SET_STEPS = """
steps => {
    const sampler = app.graph.nodes.find(node => node.type === 'LivePhotoSampler')
    sampler.widgets.find(widget => widget.name === 'steps').value = steps
}
"""


def open_template_browser(front_end: FrontEnd) -> None:
    """Shows the pack's templates."""
    dialog = front_end.page.get_by_role("dialog")
    first = front_end.page.get_by_test_id(f"template-workflow-{WORKFLOW_NAMES[0]}")

    def choose_pack() -> None:
        if not dialog.is_visible():
            front_end.execute("Comfy.BrowseTemplates")
        # Once it is chosen, the name is its heading too: a second try finds two.
        dialog.get_by_text(PACK_FOLDER_NAME, exact=True).first.click(timeout=TRY_TIMEOUT_MS)
        first.wait_for(timeout=TRY_TIMEOUT_MS)

    try_again(choose_pack)


def open_template(front_end: FrontEnd, name: str) -> None:
    """Clicks a template in the open browser, which closes with its graph loaded."""
    page = front_end.page
    # An empty graph, so that the template's is known to be its own.
    page.evaluate("app.graph.clear()")
    dialog = page.get_by_role("dialog")

    def choose() -> None:
        if dialog.is_visible():
            page.get_by_test_id(f"template-workflow-{name}").click(timeout=TRY_TIMEOUT_MS)
        dialog.wait_for(state="hidden", timeout=TRY_TIMEOUT_MS)

    try_again(choose)
    page.wait_for_function("() => app.graph.nodes.length > 0")


def press_run(page: Page) -> None:
    def press() -> None:
        with page.expect_response(lambda it: it.url.endswith("/prompt"), timeout=TRY_TIMEOUT_MS):
            page.get_by_test_id("queue-button").click(timeout=TRY_TIMEOUT_MS)

    try_again(press)


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_template_opens_by_a_click_and_sends_what_its_api_twin_says(opened, screenshot, name):
    front_end, object_info = opened.front_end, opened.object_info
    open_template_browser(front_end)
    open_template(front_end, name)
    assert front_end.missing_node_types() == []
    twin = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())
    sent = front_end.api_workflow()
    assert links_and_values(sent, twin, object_info) == links_and_values(twin, twin, object_info)
    screenshot(f"template_{name}")


def test_template_opens_from_a_link(opened):
    front_end = opened.front_end
    front_end.open(f"?template=pia&source={PACK_FOLDER_NAME}")
    # The template comes after the front end has started; until then another graph may be there.
    front_end.page.wait_for_function(
        "() => app.graph.nodes.some(node => node.type === 'MotionIntensity')"
    )
    assert front_end.missing_node_types() == []


def test_demo_is_found_among_the_pictures_and_shows_its_video_after_run(opened, screenshot):
    front_end, page = opened.front_end, opened.front_end.page
    open_template_browser(front_end)
    for name in WORKFLOW_NAMES:
        picture = page.get_by_test_id(f"template-workflow-{name}").locator("img").first
        expect(picture).to_have_js_property("naturalWidth", PICTURE_WIDTH_PX)
    screenshot("templates")

    open_template(front_end, "demo")
    page.evaluate(SET_STEPS, 2)
    press_run(page)
    video = page.locator("video")
    expect(video).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(video).to_have_js_property("videoWidth", 64)
    screenshot("demo")
    assert "LivePhotoDemo" in video.evaluate("video => video.currentSrc")
    assert front_end.missing_node_types() == []
