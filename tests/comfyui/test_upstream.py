"""Which intensity was asked for a video, read from the graph that made it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from comfy_execution.graph import DynamicPrompt

from livephoto_core.comfyui.upstream import asked_intensity

WORKFLOWS = Path(__file__).parents[2] / "workflows" / "api"


def measured(name: str) -> dict:
    """A shipped workflow whose decoded frames are measured by node "m"."""
    prompt = json.loads((WORKFLOWS / f"{name}.json").read_text())
    [decode] = [key for key, node in prompt.items() if node["class_type"] == "VAEDecode"]
    prompt["m"] = {"class_type": "MotionIntensity", "inputs": {"images": [decode, 0]}}
    return prompt


@pytest.mark.parametrize(
    ("name", "class_type"),
    [
        ("demo", "LivePhotoSampler"),
        ("ksampler", "ApplyLivePhoto"),
        ("sampler_custom_advanced", "ApplyLivePhoto"),
        ("long_clip", "ApplyLivePhoto"),
    ],
)
def test_intensity_is_found_behind_samplers_and_patches(name, class_type):
    prompt = measured(name)
    [node] = [key for key, node in prompt.items() if node["class_type"] == class_type]
    prompt[node]["inputs"]["motion_intensity"] = 7
    assert asked_intensity(DynamicPrompt(prompt), "m", "images") == (node, 7.0)


def test_nearest_of_two_videos_counts():
    prompt = measured("demo")
    second = json.loads(json.dumps(prompt["7"]))
    second["inputs"] |= {"motion_intensity": 2.5, "reference": ["new reference", 0]}
    reference = json.loads(json.dumps(prompt["3"]))
    reference["inputs"]["image"] = ["8", 0]
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["second", 0], "vae": ["1", 2]}}
    prompt |= {"second": second, "new reference": reference, "decode": decode}
    prompt["m"]["inputs"]["images"] = ["decode", 0]
    assert asked_intensity(DynamicPrompt(prompt), "m", "images") == ("second", 2.5)


def test_frames_from_elsewhere_have_none():
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "m": {"class_type": "MotionIntensity", "inputs": {"images": ["1", 0]}},
    }
    assert asked_intensity(DynamicPrompt(prompt), "m", "images") is None
    assert asked_intensity(None, "m", "images") is None


@pytest.mark.parametrize("value", [[], [[1, 2], [3, 4]], ["7"], ["7", "8", "9"], [None, 0]])
def test_lists_that_are_no_links_are_passed_over(value):
    prompt = measured("demo")
    prompt["m"]["inputs"]["images"] = ["other", 0]
    inputs = {"points": value, "images": ["8", 0]}
    prompt["other"] = {"class_type": "OfAnotherPack", "inputs": inputs}
    assert asked_intensity(DynamicPrompt(prompt), "m", "images").node == "7"


def test_computed_intensity_is_unknown():
    prompt = measured("demo")
    prompt["7"]["inputs"]["motion_intensity"] = ["1", 0]
    assert asked_intensity(DynamicPrompt(prompt), "m", "images") is None


def test_intensity_is_found_in_what_a_loop_has_added_to_the_graph():
    prompt = measured("demo")
    graph = DynamicPrompt(prompt)
    inputs = prompt["7"]["inputs"] | {"motion_intensity": 9}
    graph.add_ephemeral_node("7.0.1", prompt["7"] | {"inputs": inputs}, "loop", "7")
    measure = {"class_type": "MotionIntensity", "inputs": {"images": ["7.0.1", 0]}}
    graph.add_ephemeral_node("m.0.1", measure, "loop", "m")
    assert asked_intensity(graph, "m.0.1", "images") == ("7", 9.0)
