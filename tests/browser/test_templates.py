"""ComfyUI's template browser, as an artist uses it: find the pack, open the demo, press Run."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from harness.server import PACK_FOLDER_NAME
from tests.browser.front_end import WORKFLOW_NAMES

pytestmark = pytest.mark.browser

PICTURE_WIDTH_PX = 1280
RUN_TIMEOUT_MS = 240_000

DEMO_IS_OPEN = "() => app.graph.nodes.some(node => node.type === 'LivePhotoDemoModel')"

SET_STEPS = """
steps => {
    const sampler = app.graph.nodes.find(node => node.type === 'LivePhotoSampler')
    sampler.widgets.find(widget => widget.name === 'steps').value = steps
}
"""


def open_template_browser(page: Page) -> None:
    """Shows the pack's templates."""
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_role("dialog").get_by_text(PACK_FOLDER_NAME, exact=True).click()


def test_demo_is_found_among_the_pictures_and_shows_its_video_after_run(opened, tmp_path):
    front_end, page = opened.front_end, opened.front_end.page
    front_end.console_errors.clear()
    open_template_browser(page)
    for name in WORKFLOW_NAMES:
        picture = page.get_by_test_id(f"template-workflow-{name}").locator("img").first
        expect(picture).to_have_js_property("naturalWidth", PICTURE_WIDTH_PX)
    page.screenshot(path=tmp_path / "templates.png")

    page.get_by_test_id("template-workflow-demo").click()
    page.wait_for_function(DEMO_IS_OPEN)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.evaluate(SET_STEPS, 2)
    page.get_by_test_id("queue-button").click()

    video = page.locator("video")
    expect(video).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(video).to_have_js_property("videoWidth", 64)
    page.screenshot(path=tmp_path / "demo.png")
    assert "LivePhotoDemo" in video.evaluate("video => video.currentSrc")
    assert front_end.missing_node_types() == []
    assert [error for error in front_end.console_errors if "livephoto" in error.lower()] == []
