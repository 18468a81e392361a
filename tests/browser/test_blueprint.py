"""The blueprint "Animate a photo": found in the front end, added, and run on the demo model."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import urlencode

import av
import pytest
import requests

from harness.server import PACK_FOLDER_NAME
from tests.browser.export_blueprint import BLUEPRINTS, NAME, inside_workflow
from tests.browser.front_end import (
    FREE_SPACE,
    TRY_TIMEOUT_MS,
    WIDGET,
    WORKFLOWS,
    FrontEnd,
    open_search,
    try_again,
)
from tests.browser.queueing import queue
from tests.browser.sampler_page import LOOP, MEASURED, PICTURES

pytestmark = pytest.mark.browser

PATH = BLUEPRINTS / f"{NAME}.json"
NODES = {"demo": 1, "loader": 2, "save": 10, "measure": 11}
LINKS = ("model", "clip", "vae", "clip_vision", "image")
VALUES = {
    "sentence": "a red heart moves right",
    "negative": "",
    "motion_intensity": 8,
    "width": 64,
    "height": 64,
    "steps": 2,
    "fps": 10,
}
MEASURE, SAMPLER = "11", "8"  # outside; inside

# To the left of the free space.
CLEAR = """
() => {
    app.graph.nodes.forEach((node, number) => { node.pos = [200, 100 + 400 * number] })
    app.canvas.ds.scale = 1
    app.canvas.ds.offset = [0, 0]
    app.canvas.setDirty(true, true)
}
"""

# Newer front ends let the node follow the mouse until the next click.
IS_PLACED = "() => app.graph.nodes.some(node => node.isSubgraphNode?.() && !node.flags.ghost)"

CONNECT = """
({demo, loader, save, measure, links}) => {
    const blueprint = app.graph.nodes.find(node => node.isSubgraphNode?.())
    const connect = (from, output, to, input) =>
        from.connect(from.findOutputSlot(output), to, to.findInputSlot(input))
    for (const name of links) connect(app.graph.getNodeById(demo), name, blueprint, name)
    connect(app.graph.getNodeById(loader), 'livephoto', blueprint, 'livephoto')
    connect(blueprint, 'video', app.graph.getNodeById(save), 'video')
    connect(blueprint, 'images', app.graph.getNodeById(measure), 'images')
}
"""

SET = """
values => {
    const blueprint = app.graph.nodes.find(node => node.isSubgraphNode?.())
    for (const [name, value] of Object.entries(values)) {
        const widget = blueprint.widgets.find(widget => widget.name === name)
        widget.value = value
        widget.callback?.(value, app.canvas, blueprint)
    }
}
"""


INTENSITY_LABEL = """
() => {
    const blueprint = app.graph.nodes.find(node => node.isSubgraphNode?.())
    const widget = blueprint.widgets.find(widget => widget.name === "motion_intensity")
    return widget.label ?? widget.name
}
"""


def load_frame(front_end: FrontEnd) -> None:
    """The nodes around the blueprint: demo model, motion checkpoint, what takes its outputs."""
    template = json.loads((WORKFLOWS / "api" / "demo.json").read_text())
    around = {key: template[key] for key in ("1", "2", "10")}
    del around["10"]["inputs"]["video"]
    around[MEASURE] = {"class_type": "MotionIntensity", "inputs": {"livephoto": ["2", 0]}}
    around["12"] = {"class_type": "PreviewImage", "inputs": {"images": [MEASURE, 3]}}
    front_end.load_api_workflow(around)
    front_end.page.evaluate(CLEAR)


def add_blueprint(front_end: FrontEnd) -> None:
    """What an artist does: double click on free space, a few letters, Enter."""
    page = front_end.page
    found = page.get_by_text(NAME).first

    def add() -> None:
        # Afresh, or a node of a try that was slow would be there twice.
        load_frame(front_end)
        open_search(page)
        page.keyboard.type("Animate a photo", delay=20)
        found.wait_for(timeout=TRY_TIMEOUT_MS)
        page.keyboard.press("Enter")
        found.wait_for(state="hidden", timeout=TRY_TIMEOUT_MS)
        page.mouse.click(*FREE_SPACE)
        page.wait_for_function(IS_PLACED, timeout=TRY_TIMEOUT_MS)

    try_again(add)


def nodes_of(prompt: dict[str, Any], class_type: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in prompt.values() if node["class_type"] == class_type]


def test_server_lists_the_blueprint(opened):
    url = f"{opened.front_end.url}/global_subgraphs"
    listed = requests.get(url, timeout=60).json()
    [(key, entry)] = [(key, entry) for key, entry in listed.items() if entry["name"] == NAME]
    assert entry["info"]["node_pack"] == f"custom_nodes.{PACK_FOLDER_NAME}"
    assert requests.get(f"{url}/{key}", timeout=60).json()["data"] == PATH.read_text()


def test_blueprint_is_what_the_script_would_make():
    [subgraph] = json.loads(PATH.read_text())["definitions"]["subgraphs"]
    nodes = {str(node["id"]): node["type"] for node in subgraph["nodes"]}
    assert nodes == {key: node["class_type"] for key, node in inside_workflow().items()}


def test_blueprint_makes_a_video_of_the_demo_model(opened, screenshot):
    front_end = opened.front_end
    front_end.show_previews()
    add_blueprint(front_end)
    front_end.page.evaluate(CONNECT, NODES | {"links": LINKS})
    front_end.page.evaluate(SET, VALUES)
    run = queue(front_end)
    assert "·" not in front_end.page.evaluate(INTENSITY_LABEL), "the word is of the one inside"
    screenshot("blueprint")
    check_sent(run.prompt)
    check_shown_inside(front_end)
    [file] = run.outputs["10"]["images"]
    answer = requests.get(f"{front_end.url}/view?{urlencode(file)}", timeout=60)
    with av.open(io.BytesIO(answer.content)) as video:
        assert video.streams.video[0].average_rate == VALUES["fps"]
        sizes = [(frame.width, frame.height) for frame in video.decode(video=0)]
    assert sizes == [(64, 64)] * 16
    check_loop_ends_with_the_workflow(front_end)


def check_sent(prompt: dict[str, Any]) -> None:
    """Each value reached the nodes inside, and each link."""
    [reference], [reweight] = nodes_of(prompt, "ReferenceEncode"), nodes_of(prompt, "TextReweight")
    [sampler] = nodes_of(prompt, "LivePhotoSampler")
    assert (reference["width"], reference["height"]) == (64, 64)
    assert (reference["image"], reference["clip_vision"]) == (["1", 4], ["1", 3])
    assert reweight["frames"] == sampler["frames"] == 16
    assert (sampler["motion_intensity"], sampler["steps"]) == (8, 2)
    texts = [inputs["text"] for inputs in nodes_of(prompt, "CLIPTextEncode")]
    assert texts == [VALUES["sentence"], VALUES["negative"]]
    for inputs in (reference, reweight, sampler):
        assert inputs["livephoto"] == ["2", 0]


def check_shown_inside(front_end: FrontEnd) -> None:
    """The loop, and the measured level beside the asked one, on the sampler in the subgraph."""
    blueprint = front_end.page.evaluate("app.graph.nodes.find(it => it.isSubgraphNode?.()).id")
    sampler = f"{blueprint}:{SAMPLER}"
    text = front_end.wait_for_text(MEASURE, MEASURED, "asked 8, measured ")
    assert text.startswith(front_end.wait_for_text(sampler, MEASURED, "asked 8, measured "))
    front_end.page.wait_for_function(
        f"([id, name]) => ({WIDGET})([id, name])?.element.width === 8", arg=[sampler, LOOP]
    )


def check_loop_ends_with_the_workflow(front_end: FrontEnd) -> None:
    """Nodes in a subgraph are not told that another workflow takes their place."""
    page = front_end.page
    blueprint = page.evaluate("app.graph.nodes.find(it => it.isSubgraphNode?.()).id")
    canvas = page.evaluate_handle(f"({WIDGET})(['{blueprint}:{SAMPLER}', '{LOOP}']).element")
    assert page.evaluate(PICTURES, [canvas, 3, 100]) == 3
    front_end.load_api_workflow({})
    assert page.evaluate(PICTURES, [canvas, 3, 10]) == 1


def test_image_encoder_may_stay_open(opened):
    front_end = opened.front_end
    add_blueprint(front_end)
    links = [name for name in LINKS if name != "clip_vision"]
    front_end.page.evaluate(CONNECT, NODES | {"links": links})
    [reference] = nodes_of(front_end.api_workflow(), "ReferenceEncode")
    assert "clip_vision" not in reference
    assert reference["image"] == ["1", 4]
