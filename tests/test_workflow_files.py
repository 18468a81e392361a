"""The workflow files that artists load, against their twins in API format."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.public_files import HUGGING_FACE, PUBLIC_FILES, models_property, public_files_of

WORKFLOWS = Path(__file__).parents[1] / "workflows"
NAMES = sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json"))

NOTE = "MarkdownNote"
SEED_CONTROLS = ("fixed", "increment", "decrement", "randomize")

# The button is a widget of the front end; ComfyUI gained bit_depth after the oldest we support.
NOT_IN_API = {"LoadImage": {"upload": "image"}, "CreateVideo": {"bit_depth": 8}}

ABSOLUTE_PATH = re.compile(r"(?:^|[\s\"'`(=])(?:/|~/|\\\\|[A-Za-z]:[\\/])|://")

# Where files that anyone may have are from.
PUBLIC_ADDRESS = re.compile(re.escape(HUGGING_FACE) + r"[\w./-]+")

TITLE_PX = 30

each_workflow = pytest.mark.parametrize("name", NAMES)


def load(name: str) -> dict[str, Any]:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def load_api(name: str) -> dict[str, Any]:
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))


def nodes_without_note(graph: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in graph["nodes"] if node["type"] != NOTE]


def as_api(graph: dict[str, Any]) -> dict[str, Any]:
    """What the front end would send, by the widget names it stored beside the values."""
    sources = {link: [str(node), slot] for link, node, slot, *_ in graph["links"]}
    return {
        str(node["id"]): {"class_type": node["type"], "inputs": api_inputs(node, sources)}
        for node in nodes_without_note(graph)
    }


def api_inputs(node: dict[str, Any], sources: dict[int, list[Any]]) -> dict[str, Any]:
    inputs = {}
    values = list(node.get("widgets_values", []))
    for entry in node["inputs"]:
        if "widget" in entry:
            inputs[entry["widget"]["name"]] = values.pop(0)
            if entry["name"] in ("seed", "noise_seed"):
                assert values.pop(0) in SEED_CONTROLS
        if entry["link"] is not None:
            inputs[entry["name"]] = sources[entry["link"]]
    assert not values, f"{node['type']} has values without a widget: {values}"
    for name, value in NOT_IN_API.get(node["type"], {}).items():
        assert inputs.pop(name) == value
    return inputs


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from itertools.chain.from_iterable(map(strings, value.values()))
    elif isinstance(value, list):
        yield from itertools.chain.from_iterable(map(strings, value))


def outline(node: dict[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right and bottom, with the title bar."""
    (left, top), (width, height) = node["pos"], node["size"]
    return left, top - TITLE_PX, left + width, top + height


def test_every_workflow_has_an_api_twin_and_a_picture():
    assert len(NAMES) >= 7
    assert sorted(path.stem for path in WORKFLOWS.glob("*.json")) == NAMES
    assert sorted(path.stem for path in WORKFLOWS.glob("*.jpg")) == NAMES


@each_workflow
def test_nodes_links_and_values_are_those_of_the_api_twin(name):
    twin = load_api(name)
    wanted = {
        key: {"class_type": node["class_type"], "inputs": node["inputs"]}
        for key, node in twin.items()
    }
    graph = load(name)
    assert as_api(graph) == wanted
    titles = {str(node["id"]): node.get("title") for node in graph["nodes"]}
    for key, node in twin.items():
        if "_meta" in node:
            assert titles[key] == node["_meta"]["title"]


@each_workflow
def test_links_agree_with_the_slots_at_both_ends(name):
    graph = load(name)
    nodes = {node["id"]: node for node in graph["nodes"]}
    for link, source, output, target, slot, _ in graph["links"]:
        assert link in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][slot]["link"] == link
    linked = [entry for node in graph["nodes"] for entry in node["inputs"] if entry["link"]]
    assert len(linked) == len(graph["links"])


@each_workflow
def test_video_is_created_at_8_fps_and_saved(name):
    workflow = as_api(load(name))
    [save] = [node for node in workflow.values() if node["class_type"] == "SaveVideo"]
    create = workflow[save["inputs"]["video"][0]]
    assert create["class_type"] == "CreateVideo"
    assert create["inputs"]["fps"] == 8
    assert workflow[create["inputs"]["images"][0]]["class_type"] == "VAEDecode"


@each_workflow
def test_file_holds_nothing_of_the_machine_it_was_made_on(name):
    graph = load(name)
    texts = [PUBLIC_ADDRESS.sub("", text) for text in strings(graph)]
    assert [text for text in texts if ABSOLUTE_PATH.search(text)] == []
    assert "ds" not in graph["extra"], "the view's position and zoom depend on the window"


@pytest.mark.parametrize(
    "text", ["/home/a/b.ckpt", "C:\\models\\b.ckpt", "see ~/models", "\\\\host\\b", "https://a.b"]
)
def test_absolute_paths_and_addresses_are_found(text):
    assert ABSOLUTE_PATH.search(text)


@each_workflow
def test_note_names_every_file_and_its_folder(name):
    graph = load(name)
    [note] = [node for node in graph["nodes"] if node["type"] == NOTE]
    [text] = note["widgets_values"]
    folders = {
        "ckpt_name": ("models/checkpoints",),
        "lora_name": ("models/loras",),
        "file": ("models/livephoto", "models/animatediff_models", "models/clip_vision"),
    }
    for node in load_api(name).values():
        for key in folders.keys() & node["inputs"].keys():
            [line] = [line for line in text.splitlines() if node["inputs"][key] in line]
            assert any(folder in line for folder in folders[key])


@each_workflow
def test_public_files_can_be_downloaded_from_the_template(name):
    twin = load_api(name)
    for node in nodes_without_note(load(name)):
        wanted = models_property(public_files_of(twin[str(node["id"])]["inputs"]))
        assert node["properties"].get("models", []) == wanted


def test_every_public_file_is_used_and_the_note_links_its_repository():
    used = set()
    for name in NAMES:
        [note] = [node for node in load(name)["nodes"] if node["type"] == NOTE]
        for node in load_api(name).values():
            for file in public_files_of(node["inputs"]):
                repository = PUBLIC_FILES[file].repository
                [line] = [line for line in note["widgets_values"][0].splitlines() if file in line]
                assert f"[{repository}]({HUGGING_FACE}{repository})" in line
                used.add(file)
    assert used == PUBLIC_FILES.keys()


@each_workflow
def test_nodes_lie_in_groups_and_do_not_overlap(name):
    graph = load(name)
    outlines = [outline(node) for node in graph["nodes"]]
    for (left, top, right, bottom), (left_2, top_2, right_2, bottom_2) in itertools.combinations(
        outlines, 2
    ):
        assert right <= left_2 or right_2 <= left or bottom <= top_2 or bottom_2 <= top
    for left, top, right, bottom in map(outline, nodes_without_note(graph)):
        around = [
            group["title"]
            for group in graph["groups"]
            for x, y, width, height in [group["bounding"]]
            if x <= left and y <= top and right <= x + width and bottom <= y + height
        ]
        assert len(around) == 1


@each_workflow
def test_picture_suits_the_template_browser(name):
    path = WORKFLOWS / f"{name}.jpg"
    with Image.open(path) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (1280, 720)
        darkest, brightest = picture.convert("L").getextrema()
    assert brightest - darkest > 200, "the picture is blank"
    assert path.stat().st_size < 200_000
