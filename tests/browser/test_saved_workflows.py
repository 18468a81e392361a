"""Workflows saved with earlier versions of the pack: they load, and mean what they meant."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.browser.comparison import Workflow, links_and_values, unknown_inputs

pytestmark = pytest.mark.browser

SAVED = Path(__file__).parent / "saved"
API_FILES = sorted(SAVED.glob("*/api/*.json"))

each_saved = pytest.mark.parametrize(
    "api_file", API_FILES, ids=[f"{path.parts[-3]}-{path.stem}" for path in API_FILES]
)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def offer(url: str, workflow: Workflow) -> dict[str, Any]:
    """The server's answer to a workflow, which is withdrawn at once: only the check is wanted."""
    answer = requests.post(f"{url}/prompt", json={"prompt": workflow}, timeout=60).json()
    requests.post(f"{url}/queue", json={"clear": True}, timeout=60).raise_for_status()
    requests.post(f"{url}/interrupt", json={}, timeout=60).raise_for_status()
    return answer


def test_every_saved_workflow_has_an_api_twin():
    graphs = {(path.parent.name, path.name) for path in SAVED.glob("*/*.json")}
    assert graphs == {(path.parts[-3], path.name) for path in API_FILES}
    assert len(graphs) >= 8


@each_saved
def test_saved_workflow_still_sends_what_it_sent(opened, api_file):
    front_end, object_info = opened.front_end, opened.object_info
    front_end.load_workflow(read(api_file.parents[1] / api_file.name))
    assert front_end.missing_node_types() == []
    twin, sent = read(api_file), front_end.api_workflow()
    assert unknown_inputs(twin, object_info) == []
    assert links_and_values(sent, twin, object_info) == links_and_values(twin, twin, object_info)


@each_saved
def test_server_takes_the_saved_api_workflow(opened, api_file):
    workflow = read(api_file)
    assert unknown_inputs(workflow, opened.object_info) == []
    answer = offer(opened.front_end.url, workflow)
    assert answer["node_errors"] == {}
    assert answer["prompt_id"]


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("frames", None, "required_input_missing"), ("scheduler", "gone", "value_not_in_list")],
)
def test_server_refuses_a_changed_name_or_value(opened, name, value, kind):
    """What the test before relies on."""
    workflow = copy.deepcopy(read(SAVED / "0.1.0" / "api" / "demo.json"))
    inputs = workflow["7"]["inputs"]
    del inputs[name]
    inputs |= {name: value} if value else {f"{name}_renamed": 16}
    [error] = offer(opened.front_end.url, workflow)["node_errors"]["7"]["errors"]
    assert error["type"] == kind
    assert unknown_inputs(workflow, opened.object_info) == ([] if value else [f"7.{name}_renamed"])
