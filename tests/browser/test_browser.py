"""Every template in ComfyUI's own front end: it loads, and "Queue" sends what its API twin says."""

from __future__ import annotations

import json

import pytest

from harness.server import PACK_FOLDER_NAME
from tests.browser.comparison import links_and_values
from tests.browser.front_end import WORKFLOW_NAMES, WORKFLOWS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("name", WORKFLOW_NAMES)
def test_template_sends_what_its_api_twin_says(opened, name):
    front_end, object_info = opened.front_end, opened.object_info
    front_end.console_errors.clear()
    front_end.load_template(name)
    assert front_end.missing_node_types() == []
    twin = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())
    sent = front_end.api_workflow()
    assert links_and_values(sent, twin, object_info) == links_and_values(twin, twin, object_info)
    assert [error for error in front_end.console_errors if "livephoto" in error.lower()] == []


def test_template_opens_from_a_link(opened):
    front_end = opened.front_end
    front_end.open(f"?template=pia&source={PACK_FOLDER_NAME}")
    # The template comes after the front end has started; until then another graph may be there.
    front_end.page.wait_for_function(
        "() => app.graph.nodes.some(node => node.type === 'MotionIntensity')", timeout=60_000
    )
    assert front_end.missing_node_types() == []
