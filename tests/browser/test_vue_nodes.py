"""The demo in Vue nodes (Nodes 2.0), the newer of the front end's two ways to draw a graph."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.queueing import run
from tests.browser.sampler_page import LOADER, MEASURE, REFERENCE, SAMPLER, short_demo

pytestmark = pytest.mark.browser

SHOW = """ids => {
    const nodes = ids.map(id => app.graph.getNodeById(id))
    app.canvas.selectItems(nodes)
    app.canvas.fitViewToSelectionAnimated({ duration: 1 })
}"""


def test_all_that_the_pack_shows_is_shown_in_vue_nodes(opened, screenshot):
    front_end, page = opened.front_end, opened.front_end.page
    with front_end.setting("Comfy.VueNodes.Enabled", True):
        front_end.show_previews()
        front_end.load_api_workflow(short_demo())
        front_end.set_widget(SAMPLER, "motion_intensity", 9.5)
        page.evaluate(SHOW, [LOADER, REFERENCE, SAMPLER, MEASURE])

        def node(number: str):
            return page.locator(f'[data-node-id="{number}"]')

        expect(node(SAMPLER)).to_contain_text("wild · motion_intensity")
        assert run(front_end)["type"] == "execution_success"
        expect(node(SAMPLER).locator("canvas")).to_be_visible()
        expect(node(SAMPLER)).to_contain_text("asked 9.5, measured ")
        expect(node(MEASURE)).to_contain_text("asked 9.5, measured ")
        expect(node(LOADER)).to_contain_text("reference latent: yes")
        for showing in (REFERENCE, MEASURE):
            expect(node(showing).locator("img").first).to_be_visible()
        expect(page.locator("video")).to_be_visible()
        screenshot("vue_nodes")
