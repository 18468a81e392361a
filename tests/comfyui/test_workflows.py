"""Every shipped workflow in a real ComfyUI, down to the video on disk.

The checkpoints have SD-1.5's real shapes and random weights, so the frames are noise; what is shown
is that the graphs load, run and save what they say.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from harness.errors import WorkflowError, WorkflowInterruptedError
from livephoto_core.checkpoints import write_checkpoint
from livephoto_core.comfyui.prompt_words import prompt_words
from livephoto_core.comfyui.text import parse_overrides
from livephoto_core.models.config import InputConditioningConfig, LivePhotoConfig
from livephoto_core.shapes.recognition import ONLY_SHAPES
from tests.comfyui import motion_files

README = Path(__file__).parents[2] / "README.md"
API_WORKFLOWS = README.parent / "workflows" / "api"
FILES = {
    "v1-5-pruned-emaonly-fp16.safetensors": ("checkpoints", None),
    "DreamShaper_8_pruned.safetensors": ("checkpoints", None),
    "livephoto.safetensors": ("livephoto", motion_files.write_livephoto),
    "pia.ckpt": ("animatediff_models", motion_files.write_pia),
    "v3_sd15_mm.ckpt": ("animatediff_models", motion_files.write_animatediff_v3),
    "dinov2-large.safetensors": ("clip_vision", motion_files.write_dinov2_small),
    "style.safetensors": ("loras", motion_files.write_lora),
}
NAMES = sorted(path.stem for path in API_WORKFLOWS.glob("*.json"))
FAST = {"width": 64, "height": 64, "steps": 2}
NEEDED_IN_OLDEST = ["animate_photo", "sampler_custom_advanced"]


def load(name: str) -> dict:
    """An API workflow, at a size and number of steps that a CPU does in seconds."""
    workflow = json.loads((API_WORKFLOWS / f"{name}.json").read_text())
    for node in workflow.values():
        node["inputs"] |= {key: FAST[key] for key in FAST if key in node["inputs"]}
    return workflow


def provide_files(server, workflow: dict, checkpoint: Path) -> None:
    """Puts every file that the workflow names where an artist would have put it."""
    for value in [v for node in workflow.values() for v in node["inputs"].values()]:
        if not isinstance(value, str) or value not in FILES:
            continue
        folder, write = FILES[value]
        path = server.models(folder) / value
        if path.exists():
            continue
        if write is None:
            path.symlink_to(checkpoint)
        else:
            write(path)
    photo = server.directory("input") / "example.png"
    if not photo.exists():
        Image.fromarray(data.astronaut()).save(photo)


def read_video(path: Path) -> tuple[np.ndarray, float]:
    """Frames (f h w 3) and frames per second of an mp4."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate)


def run_and_check(server, name: str, checkpoint: Path) -> None:
    workflow = load(name)
    provide_files(server, workflow, checkpoint)
    result = server.client().run_workflow(workflow)
    [video] = [path for path in result.files if path.suffix == ".mp4"]
    frames, fps = read_video(video)
    [wanted] = {
        node["inputs"]["frames"]
        for node in workflow.values()
        if node["class_type"] in ("ApplyLivePhoto", "LivePhotoSampler")
    }
    assert frames.shape == (wanted, 64, 64, 3)
    assert fps == 8
    assert frames.std() > 1, "the frames are one flat colour"
    assert (frames[0] != frames[-1]).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_workflow_saves_a_video_of_the_right_length_size_and_rate(
    comfyui_server, sd15_checkpoint, name
):
    run_and_check(comfyui_server, name, sd15_checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDED_IN_OLDEST)
def test_workflow_runs_in_the_oldest_comfyui(oldest_comfyui_server, sd15_checkpoint, name):
    run_and_check(oldest_comfyui_server, name, sd15_checkpoint)


@pytest.mark.slow
def test_new_seed_repeats_neither_loading_nor_inversion(comfyui_server, sd15_checkpoint):
    workflow = load("animatediff_prior_inversion")
    provide_files(comfyui_server, workflow, sd15_checkpoint)
    client = comfyui_server.client()
    client.run_workflow(workflow)
    again = copy.deepcopy(workflow)
    [prior] = [n for n, node in again.items() if node["class_type"] == "PriorInversion"]
    again[prior]["inputs"] |= {"seed": 1}
    result = client.run_workflow(again)
    classes = {again[node]["class_type"] for node in result.executed}
    assert classes == {
        "PriorInversion",
        "LivePhotoSampler",
        "VAEDecode",
        "CreateVideo",
        "SaveVideo",
        "MotionIntensity",
    }
    assert result.num_previews >= 2


@pytest.mark.slow
def test_cancel_stops_within_a_step_and_the_next_run_works(comfyui_server, sd15_checkpoint):
    workflow = load("animatediff_prior_inversion")
    provide_files(comfyui_server, workflow, sd15_checkpoint)
    [sampler] = [n for n, node in workflow.items() if node["class_type"] == "LivePhotoSampler"]
    long_run = copy.deepcopy(workflow)
    long_run[sampler]["inputs"] |= {"steps": 50}
    client, steps_seen = comfyui_server.client(), []

    def cancel(progress):
        if progress.node_id == sampler and progress.value > 0:
            steps_seen.append(progress.value)
            client.interrupt()

    with pytest.raises(WorkflowInterruptedError):
        client.run_workflow(long_run, on_progress=cancel)
    assert max(steps_seen) <= 2
    assert client.run_workflow(workflow).files


@pytest.mark.parametrize("name", NAMES)
def test_another_sentence_leaves_no_override_without_its_word(name):
    workflow = load(name)
    [sentence] = [
        node for node in workflow.values() if node.get("_meta", {}).get("title") == "What happens"
    ]
    sentence["inputs"]["text"] = "leaves fall"
    words = prompt_words(sentence["inputs"]["text"]).words
    for node in workflow.values():
        assert parse_overrides(node["inputs"].get("overrides", "")).keys() <= set(words)


def test_photo_workflows_ask_for_what_the_readme_asks_for_and_describe_no_photo():
    sentences = {
        node["inputs"]["text"]
        for name in NAMES
        for node in load(name).values()
        if node.get("_meta", {}).get("title") == "What happens" and name != "demo"
    }
    [sentence] = sentences
    assert f"*{sentence}*" in README.read_text(encoding="utf-8")


def test_demo_sends_photos_to_a_workflow_whose_files_are_public():
    graph = json.loads((API_WORKFLOWS.parent / "demo.json").read_text(encoding="utf-8"))
    [note] = [node for node in graph["nodes"] if node["type"] == "MarkdownNote"]
    docs = README.parent / "nodes" / "web" / "docs"
    pages = [
        (docs / f"{n}.md").read_text("utf-8") for n in ("LivePhotoDemoModel", "ReferenceEncode")
    ]
    for text in (ONLY_SHAPES, *note["widgets_values"], *pages):
        assert "pia" in text
        assert "animate_photo" not in text, "nobody has the file that it needs"


def test_replaced_file_is_read_again(comfyui_server):
    """The loader alone, twice, then after a change on disk."""
    folder = comfyui_server.models("livephoto")
    config = LivePhotoConfig(input_conditioning=InputConditioningConfig())
    weights = {"input_conditioning.conv.weight": torch.zeros(320, 6, 3, 3)}
    write_checkpoint(folder / "small.safetensors", config, weights)
    workflow = {
        "1": {"class_type": "LivePhotoLoader", "inputs": {"file": "small.safetensors"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }
    client = comfyui_server.client()
    first, second = client.run_workflow(workflow), client.run_workflow(workflow)
    assert "reference latent: yes" in first.outputs["2"]["text"][0]
    assert "1" in first.executed and "1" not in second.executed
    pia = InputConditioningConfig(channels=("affinity",))
    weights = {"input_conditioning.conv.weight": torch.zeros(320, 1, 3, 3)}
    write_checkpoint(folder / "small.safetensors", replace(config, input_conditioning=pia), weights)
    third = client.run_workflow(workflow)
    assert "reference latent: no" in third.outputs["2"]["text"][0]


def test_wrong_file_is_explained_on_the_node(comfyui_server):
    motion_files.write_lora(comfyui_server.models("animatediff_models") / "style.safetensors")
    workflow = {
        "1": {"class_type": "LivePhotoLoader", "inputs": {"file": "style.safetensors"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }
    with pytest.raises(WorkflowError, match=r"style\.safetensors .*LoRA.*models/loras") as caught:
        comfyui_server.client().run_workflow(workflow)
    assert caught.value.class_type == "LivePhotoLoader"


def test_pack_is_imported_within_the_budget(every_comfyui_server):
    assert every_comfyui_server.pack_import_seconds < 0.3


def test_every_node_explains_itself(every_comfyui_server):
    info = every_comfyui_server.client().object_info()
    ours = {name: node for name, node in info.items() if node["category"] == "LivePhoto"}
    assert set(ours) == {
        "LivePhotoLoader",
        "LivePhotoDINOv2Loader",
        "ReferenceEncode",
        "TextReweight",
        "PriorInversion",
        "LivePhotoSampler",
        "ApplyLivePhoto",
        "MotionIntensity",
        "LivePhotoDemoModel",
    }
    for name, node in ours.items():
        assert node["description"] and node["search_aliases"], name
        assert all(node["output_tooltips"]), name
        for kind, inputs in node["input"].items():
            for input_name, (_, *options) in inputs.items() if kind != "hidden" else ():
                assert options and options[0].get("tooltip"), f"{name}.{input_name}"
