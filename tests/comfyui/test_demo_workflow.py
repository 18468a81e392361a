"""The demo in a real ComfyUI with the weights that the pack ships."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from livephoto_core.shapes.base_model import BASE_MODEL_PATH, open_base_model
from livephoto_core.shapes.recognition import ONLY_SHAPES
from livephoto_core.shapes.shipped import LIVEPHOTO_PATH, example_picture

WORKFLOW = Path(__file__).parents[2] / "workflows" / "api" / "demo.json"


@pytest.fixture
def workflow():
    workflow = json.loads(WORKFLOW.read_text())
    workflow["7"]["inputs"]["steps"] = 2
    return workflow


@pytest.fixture
def photo_workflow(comfyui_server, workflow):
    """What an artist makes of it: Load Image in place of the demo's own picture."""
    Image.fromarray(data.astronaut()).save(comfyui_server.directory("input") / "photo.png")
    workflow["11"] = {"class_type": "LoadImage", "inputs": {"image": "photo.png"}}
    workflow["3"]["inputs"]["image"] = ["11", 0]
    return workflow


def test_template_runs_as_it_is_without_any_file_of_the_users(comfyui_server, workflow):
    result = comfyui_server.client().run_workflow(workflow)
    assert [path for path in result.files if path.suffix == ".mp4"]
    assert "text" not in result.outputs["3"], "a word about a picture that the model knows"


def test_picture_of_the_node_is_the_example(comfyui_server):
    workflow = {
        "1": {"class_type": "LivePhotoDemoModel", "inputs": {}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 4], "filename_prefix": "demo"}},
    }
    result = comfyui_server.client().run_workflow(workflow)
    [saved] = result.outputs["2"]["images"]
    picture = np.array(Image.open(comfyui_server.directory("output") / saved["filename"]))
    assert np.abs(picture / 255 - example_picture()[0].numpy()).max() < 1 / 255


def test_photo_gets_a_word_on_the_node_and_in_the_log(comfyui_server, photo_workflow):
    result = comfyui_server.client().run_workflow(photo_workflow)
    assert result.outputs["3"]["text"] == [ONLY_SHAPES]
    assert ONLY_SHAPES in comfyui_server.log_path.read_text()
    assert [path for path in result.files if path.suffix == ".mp4"]


def test_word_goes_when_the_photo_does(comfyui_server, workflow, photo_workflow):
    client = comfyui_server.client()
    client.run_workflow(photo_workflow)
    again = copy.deepcopy(photo_workflow)
    again["3"]["inputs"]["image"] = ["1", 4]
    assert "text" not in client.run_workflow(again).outputs["3"]


def test_loader_lists_the_shipped_checkpoint(comfyui_server):
    info = comfyui_server.client().object_info("LivePhotoLoader")["LivePhotoLoader"]
    assert LIVEPHOTO_PATH.name in json.dumps(info["input"]["required"]["file"])


def test_shipped_checkpoint_has_all_parts(comfyui_server):
    workflow = {
        "1": {"class_type": "LivePhotoLoader", "inputs": {"file": LIVEPHOTO_PATH.name}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }
    [description] = comfyui_server.client().run_workflow(workflow).outputs["2"]["text"]
    for part in ("reference latent: yes", "content tokens: yes", "text weights: yes"):
        assert part in description


def test_description_names_the_size_that_the_model_was_trained_at(comfyui_server, workflow):
    info = comfyui_server.client().object_info("LivePhotoDemoModel")["LivePhotoDemoModel"]
    size_px = open_base_model(BASE_MODEL_PATH).config.size_px
    assert f"{size_px}×{size_px} pixels" in info["description"]
    reference = workflow["3"]["inputs"]
    assert (reference["width"], reference["height"]) == (size_px, size_px)
