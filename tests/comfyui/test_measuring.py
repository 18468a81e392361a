"""Motion Intensity in a real ComfyUI: it runs by itself, and says what it measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from comfy_execution.jobs import get_outputs_summary

from livephoto_core.checkpoints import write_checkpoint
from livephoto_core.models.config import InputConditioningConfig, LivePhotoConfig
from livephoto_core.motion_intensity import NUM_LEVELS

DEMO = Path(__file__).parents[2] / "workflows" / "api" / "demo.json"
MEASURE = "4"


def still_clip(**inputs: Any) -> dict[str, Any]:
    """The demo's picture twice, measured, with nothing behind Motion Intensity."""
    loader = {"file": "livephoto-shapes.safetensors", "motion_lora": "none", "lora_strength": 1.0}
    return {
        "1": {"class_type": "LivePhotoDemoModel", "inputs": {}},
        "2": {"class_type": "LivePhotoLoader", "inputs": loader},
        "3": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 4], "amount": 2}},
        MEASURE: {"class_type": "MotionIntensity", "inputs": {"images": ["3", 0]} | inputs},
    }


def said(outputs: dict[str, Any]) -> dict[str, Any]:
    [text] = outputs["livephoto_measured"]
    return json.loads(text)


@pytest.mark.parametrize(
    ("inputs", "scale"), [({}, "general"), ({"livephoto": ["2", 0]}, "file")], ids=["none", "own"]
)
def test_measures_by_itself_and_names_its_scale(every_comfyui_server, inputs, scale):
    result = every_comfyui_server.client().run_workflow(still_clip(**inputs))
    outputs = result.outputs[MEASURE]
    assert said(outputs) == {"level": 1, "ssim": 1.0, "asked": None, "scale": scale}
    assert len(outputs["images"]) == 1, "the chart"


def test_frames_with_alpha_are_measured_without_it(comfyui_server):
    graph = still_clip()
    graph["5"] = {"class_type": "ImageToMask", "inputs": {"image": ["3", 0], "channel": "red"}}
    graph["6"] = {
        "class_type": "JoinImageWithAlpha",
        "inputs": {"image": ["3", 0], "alpha": ["5", 0]},
    }
    graph[MEASURE]["inputs"]["images"] = ["6", 0]
    outputs = comfyui_server.client().run_workflow(graph).outputs[MEASURE]
    assert said(outputs)["ssim"] == 1.0


def test_only_the_chart_counts_as_a_file(comfyui_server):
    result = comfyui_server.client().run_workflow(still_clip())
    count, preview = get_outputs_summary({MEASURE: result.outputs[MEASURE]})
    assert count == 1
    assert preview is not None and preview["filename"].endswith(".png")


def test_file_without_edges_is_measured_on_the_general_scale(comfyui_server):
    name = "without_edges.safetensors"
    config = LivePhotoConfig(input_conditioning=InputConditioningConfig())
    weights = {"input_conditioning.conv.weight": torch.zeros(320, 6, 3, 3)}
    write_checkpoint(comfyui_server.models("livephoto") / name, config, weights)
    workflow = still_clip(livephoto=["2", 0])
    workflow["2"]["inputs"]["file"] = name
    result = comfyui_server.client().run_workflow(workflow)
    assert said(result.outputs[MEASURE])["scale"] == "general"


def test_nothing_was_asked_of_a_file_that_ignores_the_intensity(comfyui_server):
    name = "motion_only.safetensors"
    weights = {"input_conditioning.conv.weight": torch.zeros(320, 4, 3, 3)}
    config = LivePhotoConfig(input_conditioning=InputConditioningConfig(channels=("reference",)))
    write_checkpoint(comfyui_server.models("livephoto") / name, config, weights)
    workflow = json.loads(DEMO.read_text())
    loader = {"file": name, "motion_lora": "none", "lora_strength": 1.0}
    workflow["no intensity"] = {"class_type": "LivePhotoLoader", "inputs": loader}
    workflow["7"]["inputs"]["steps"] = 1
    [measure] = [k for k, node in workflow.items() if node["class_type"] == "MotionIntensity"]
    workflow[measure]["inputs"]["livephoto"] = ["no intensity", 0]
    result = comfyui_server.client().run_workflow(workflow)
    assert said(result.outputs[measure])["asked"] is None


def test_demo_measures_what_it_asked_for(every_comfyui_server):
    workflow = json.loads(DEMO.read_text())
    [measure] = [key for key, node in workflow.items() if node["class_type"] == "MotionIntensity"]
    assert workflow[measure]["inputs"].keys() == {"images", "livephoto"}
    workflow["7"]["inputs"] |= {"steps": 2, "motion_intensity": 3.5}
    measured = said(every_comfyui_server.client().run_workflow(workflow).outputs[measure])
    assert measured["asked"] == {"node": "7", "motion_intensity": 3.5}
    assert measured["scale"] == "file"
    assert 1 <= measured["level"] <= NUM_LEVELS


def test_pictures_come_back_from_the_cache(comfyui_server):
    """Also those of a node that nothing wants to run again; ComfyUI 0.18 does not send them."""
    workflow = still_clip()
    reference = {"livephoto": ["2", 0], "vae": ["1", 2], "image": ["1", 4], "fit": "stretch"}
    reference |= {"width": 72, "height": 64, "clip_vision": ["1", 3]}
    workflow["5"] = {"class_type": "ReferenceEncode", "inputs": reference}
    workflow["6"] = {"class_type": "PreviewImage", "inputs": {"images": ["5", 1]}}
    workflow["3"]["inputs"]["amount"] = 3  # or the first run would find another test's results
    client = comfyui_server.client()
    first, second = client.run_workflow(workflow), client.run_workflow(workflow)
    for node in ("5", MEASURE):
        assert node in first.executed and node not in second.executed
        assert second.outputs[node]["images"] == first.outputs[node]["images"]
    assert said(second.outputs[MEASURE]) == said(first.outputs[MEASURE])
