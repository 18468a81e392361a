"""Workflows sent without a front end.

By `workflows/client.py`, by the lines in the README, and with inputs left out.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from harness.errors import WorkflowError
from harness.server import free_port
from tests.comfyui.test_workflows import read_video

README = Path(__file__).parents[2] / "README.md"
WORKFLOWS = Path(__file__).parents[2] / "workflows"


@pytest.fixture
def workflow() -> dict[str, Any]:
    workflow = json.loads((WORKFLOWS / "api" / "demo.json").read_text())
    workflow["7"]["inputs"]["steps"] = 2
    return workflow


@pytest.fixture
def run_client(tmp_path):
    """Runs the script on a workflow, from a folder of its own."""

    def run(workflow, *arguments):
        (tmp_path / "workflow.json").write_text(json.dumps(workflow))
        command = [sys.executable, WORKFLOWS / "client.py", "workflow.json", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    return run


def test_client_animates_by_another_sentence_and_intensity(
    every_comfyui_server, workflow, run_client, tmp_path
):
    url = every_comfyui_server.url
    done = run_client(workflow, "a red heart grows", "9", "heart.mp4", url.removeprefix("http://"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    frames, fps = read_video(tmp_path / "heart.mp4")
    assert frames.shape == (16, 64, 64, 3)
    assert fps == 8
    history = requests.get(f"{url}/history", timeout=60).json()
    sent = list(history.values())[-1]["prompt"][2]
    assert sent["4"]["inputs"]["text"] == "a red heart grows"
    assert sent["7"]["inputs"]["motion_intensity"] == 9


def test_client_sets_every_seed(comfyui_server, workflow, run_client, tmp_path):
    workflow |= {"30": {"class_type": "RandomNoise", "inputs": {"noise_seed": 1}}}
    server = comfyui_server.url.removeprefix("http://")
    videos = {}
    for seed in ("7", "8"):
        video = tmp_path / f"{seed}.mp4"
        done = run_client(workflow, "a red heart grows", "9", video, server, "--seed", seed)
        assert (done.returncode, done.stderr) == (0, "")
        history = requests.get(f"{comfyui_server.url}/history", timeout=60).json()
        sent = list(history.values())[-1]["prompt"][2]
        assert (sent["7"]["inputs"]["seed"], sent["30"]["inputs"]["noise_seed"]) == (int(seed),) * 2
        videos[seed], _ = read_video(video)
    assert (videos["7"] != videos["8"]).any()


def test_client_says_what_is_refused(comfyui_server, workflow, run_client):
    server = comfyui_server.url.removeprefix("http://")
    done = run_client(workflow, "a red heart grows", "11", "heart.mp4", server)
    assert done.returncode == 1
    assert "motion_intensity" in done.stderr
    assert "value_bigger_than_max" in done.stderr


def test_client_takes_back_what_it_calls_refused(comfyui_server, workflow, run_client):
    workflow["7"]["inputs"] |= {"steps": 100, "seed": 4040}
    workflow["20"] = {"class_type": "SaveVideo", "inputs": {"filename_prefix": "video/none"}}
    server = comfyui_server.url.removeprefix("http://")
    done = run_client(workflow, "a red heart grows", "9", "heart.mp4", server)
    assert done.returncode == 1
    assert "required_input_missing" in done.stderr
    [run] = re.findall(r'"prompt_id": "(\S+)"', done.stderr)
    assert not any(requests.get(f"{comfyui_server.url}/queue", timeout=60).json().values())
    history = requests.get(f"{comfyui_server.url}/history/{run}", timeout=60).json()
    assert not history or history[run]["status"]["status_str"] == "error"


def test_client_says_that_a_video_it_was_given_before_is_gone(
    comfyui_server, workflow, run_client, tmp_path
):
    workflow["7"]["inputs"]["seed"] = 4041
    server = comfyui_server.url.removeprefix("http://")
    assert run_client(workflow, "a red heart grows", "9", "heart.mp4", server).returncode == 0
    (tmp_path / "heart.mp4").unlink()
    for video in comfyui_server.directory("output").rglob("*.mp4"):
        video.unlink()
    # ComfyUI takes the run from its cache, with the name of the file.
    done = run_client(workflow, "a red heart grows", "9", "heart.mp4", server)
    assert done.returncode == 1
    assert "ComfyUI answers 404 Not Found to GET /view?filename=" in done.stderr
    assert not (tmp_path / "heart.mp4").exists()


def test_client_says_that_no_server_answers(workflow, run_client):
    server = f"127.0.0.1:{free_port()}"
    done = run_client(workflow, "a red heart grows", "9", "heart.mp4", server)
    assert done.returncode == 1
    assert re.fullmatch(rf"ComfyUI at {server} does not answer: .*refused\n", done.stderr)


def test_client_needs_a_place_for_the_sentence(workflow, run_client):
    workflow["4"]["_meta"]["title"] = "Prompt"
    done = run_client(workflow, "a red heart grows", "9", "heart.mp4")
    assert done.returncode == 1
    assert 'no node titled "What happens"' in done.stderr


def test_client_says_which_node_failed(comfyui_server, workflow, run_client):
    del workflow["3"]["inputs"]["clip_vision"]
    server = comfyui_server.url.removeprefix("http://")
    done = run_client(workflow, "a red heart grows", "5", "heart.mp4", server)
    assert done.returncode == 1
    assert "No video" in done.stderr
    assert "ReferenceEncode" in done.stderr


def test_client_puts_the_photo_into_load_image(
    every_comfyui_server, workflow, run_client, tmp_path
):
    server = every_comfyui_server
    workflow["photo"] = {"class_type": "LoadImage", "inputs": {"image": "there is none.png"}}
    workflow["3"]["inputs"]["image"] = ["photo", 0]
    photo = tmp_path / "a photo – mine.png"
    Image.new("RGB", (80, 60), "red").save(photo)
    address = server.url.removeprefix("http://")
    for _ in range(2):  # the second time ComfyUI has all of it in its cache
        arguments = ("she smiles", "5", "wave.mp4", address, "--photo", str(photo))
        done = run_client(workflow, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert read_video(tmp_path / "wave.mp4")[0].shape == (16, 64, 64, 3)
    history = requests.get(f"{server.url}/history", timeout=60).json()
    sent = list(history.values())[-1]["prompt"][2]
    name = sent["photo"]["inputs"]["image"]
    assert name == photo.name
    assert (server.directory("input") / name).read_bytes() == photo.read_bytes()


def test_client_says_that_a_workflow_takes_no_photo(workflow, run_client):
    done = run_client(workflow, "a red heart grows", "5", "heart.mp4", "--photo", "photo.png")
    assert done.returncode == 1
    assert "no Load Image" in done.stderr


def test_client_ends_when_its_run_is_taken_out_of_the_queue(comfyui_server, workflow, run_client):
    def post(path, content):
        requests.post(f"{comfyui_server.url}/{path}", json=content, timeout=60).raise_for_status()

    def num_runs(kind):
        return len(requests.get(f"{comfyui_server.url}/queue", timeout=60).json()[kind])

    before_it = copy.deepcopy(workflow)
    before_it["7"]["inputs"]["steps"] = 500
    post("prompt", {"prompt": before_it})
    with ThreadPoolExecutor() as pool:
        address = comfyui_server.url.removeprefix("http://")
        client = pool.submit(run_client, workflow, "a red heart grows", "5", "heart.mp4", address)
        while not num_runs("queue_pending"):
            time.sleep(0.1)
        post("queue", {"clear": True})
        done = client.result()
    post("interrupt", {})
    while num_runs("queue_running"):
        time.sleep(0.1)
    assert done.returncode == 1
    assert "taken out of the queue" in done.stderr


def readme_lines() -> str:
    """The README's Python that sends a workflow."""
    blocks = re.findall(r"^```python\n(.+?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    [lines, *_] = [block for block in blocks if "/prompt" in block]
    return lines


def test_lines_in_the_readme_fetch_a_video(every_comfyui_server, workflow, tmp_path):
    lines = readme_lines()
    assert lines.count("http://127.0.0.1:8188") == 1
    (tmp_path / "workflows" / "api").mkdir(parents=True)
    (tmp_path / "workflows" / "api" / "demo.json").write_text(json.dumps(workflow))
    lines = lines.replace("http://127.0.0.1:8188", every_comfyui_server.url)
    command = [sys.executable, "-c", lines]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    [video] = tmp_path.glob("*.mp4")
    frames, fps = read_video(video)
    assert frames.shape == (16, 64, 64, 3)
    assert fps == 8


def test_lines_in_the_readme_are_few():
    assert readme_lines().count("\n") <= 16


def without_optional_values(workflow: dict[str, Any], object_info: dict[str, Any]) -> dict:
    """Leaves out every optional input that is a value and not a link."""
    smaller = copy.deepcopy(workflow)
    for node in smaller.values():
        optional = object_info[node["class_type"]]["input"].get("optional", {})
        node["inputs"] = {
            name: value
            for name, value in node["inputs"].items()
            if name not in optional or isinstance(value, list)
        }
    return smaller


def test_optional_values_may_be_left_out(every_comfyui_server, workflow):
    client = every_comfyui_server.client()
    # Not the video: its encoder does not give the same file twice.
    frames = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "frame"}}
    workflow["11"] = frames
    smaller = without_optional_values(workflow, client.object_info())
    assert "motion_lora" not in smaller["2"]["inputs"]
    assert "text" not in smaller["6"]["inputs"]
    full, left_out = (
        [np.array(Image.open(path)) for path in client.run_workflow(graph).files if is_png(path)]
        for graph in (workflow, smaller)
    )
    assert len(full) == 16
    assert (np.stack(full) == np.stack(left_out)).all()


def is_png(path: Path) -> bool:
    return path.parent.name == "output" and path.suffix == ".png"


def test_required_value_with_a_default_may_not_be_left_out(every_comfyui_server, workflow):
    """ComfyUI's own rule: defaults fill the front end's widgets, not a workflow in API format."""
    client = every_comfyui_server.client()
    [_, options] = client.object_info()["LivePhotoSampler"]["input"]["required"]["cfg"]
    assert "default" in options
    del workflow["7"]["inputs"]["cfg"]
    with pytest.raises(WorkflowError, match="cfg"):
        client.run_workflow(workflow)
