"""The paper's benchmark on a real ComfyUI server, with the demo model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import av
import pytest
import requests
from PIL import Image

from livephoto_core.evaluation import comfyui_client
from livephoto_core.evaluation.__main__ import main
from livephoto_core.evaluation.comfyui_client import ComfyUIClient, RunError, ServerError
from tests.evaluation.studies import write_benchmark

WORKFLOW = Path(__file__).parents[2] / "workflows" / "api" / "demo.json"


@pytest.fixture
def benchmark(tmp_path):
    path = write_benchmark(tmp_path / "benchmark", seeds=(3,))
    content = json.loads(path.read_text())
    del content["tracks"]["still objects"][1]
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def workflow():
    workflow = json.loads(WORKFLOW.read_text())
    workflow["11"] = {"class_type": "LoadImage", "inputs": {"image": "example.png"}}
    workflow["3"]["inputs"]["image"] = ["11", 0]
    workflow["7"]["inputs"]["steps"] = 2
    return workflow


def write_method(folder: Path, workflow) -> Path:
    (folder / "api.json").write_text(json.dumps(workflow))
    inputs = {"image": "11.image", "prompt": "4.text", "seed": "7.seed"}
    path = folder / "method.json"
    path.write_text(json.dumps({"name": "Demo", "workflow": "api.json", "inputs": inputs}))
    return path


def test_run_makes_every_video_and_goes_on_where_it_stopped(
    every_comfyui_server, benchmark, workflow, tmp_path, capsys
):
    method, output = write_method(tmp_path, workflow), tmp_path / "videos"
    own = every_comfyui_server.directory("input") / "h1.png"
    own.write_bytes(b"the user's picture of the same name")
    arguments = ["run", str(benchmark), "--method", str(method), "--output", str(output)]
    assert main([*arguments, "--server", every_comfyui_server.url]) == 0
    made = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.mp4"))
    assert made == [
        "Demo/humans/h1-1-seed3.mp4",
        "Demo/humans/h1-2-seed3.mp4",
        "Demo/still-objects/a1-1-seed3.mp4",
    ]
    with av.open(str(output / made[0])) as container:
        assert sum(1 for _ in container.decode(video=0)) == 16
    before = (output / made[0]).stat().st_mtime_ns
    (output / made[1]).unlink()
    capsys.readouterr()
    assert main([*arguments, "--server", every_comfyui_server.url]) == 0
    assert "1 videos made, 2 were there, 0 failed" in capsys.readouterr().err
    assert (output / made[0]).stat().st_mtime_ns == before
    assert own.read_bytes() == b"the user's picture of the same name"


def test_video_of_another_prompt_is_not_taken_for_this_one(
    comfyui_server, benchmark, workflow, tmp_path, capsys
):
    method, output = write_method(tmp_path, workflow), tmp_path / "videos"
    arguments = ["run", str(benchmark), "--method", str(method), "--output", str(output)]
    assert main([*arguments, "--server", comfyui_server.url]) == 0
    content = json.loads(benchmark.read_text())
    [photo] = content["tracks"]["still objects"]
    photo["prompts"][0] = "a green star grows"
    benchmark.write_text(json.dumps(content))
    capsys.readouterr()
    assert main([*arguments, "--server", comfyui_server.url]) == 2
    error = capsys.readouterr().err
    assert "1 of 3 videos" in error and "made of another photo" in error
    assert ": still-objects/a1-1-seed3. Delete them" in error
    (output / "Demo" / "still-objects" / "a1-1-seed3.mp4").unlink()
    assert main([*arguments, "--server", comfyui_server.url]) == 0
    assert "1 videos made, 2 were there, 0 failed" in capsys.readouterr().err
    workflow["7"]["inputs"]["steps"] = 3
    write_method(tmp_path, workflow)
    assert main([*arguments, "--server", comfyui_server.url]) == 2
    assert "3 of 3 videos" in capsys.readouterr().err


def test_run_that_the_server_forgets_ends_with_a_word(comfyui_server, workflow, monkeypatch):
    photo = comfyui_server.directory("input") / "photo.png"
    Image.new("RGB", (64, 64)).save(photo)
    workflow["11"]["inputs"]["image"] = photo.name
    workflow["7"]["inputs"]["seed"] = 11  # not taken from the cache

    def forget(_seconds):
        while any(requests.get(f"{comfyui_server.url}/queue", timeout=60).json().values()):
            time.sleep(0.1)
        requests.post(f"{comfyui_server.url}/history", json={"clear": True}, timeout=60)

    monkeypatch.setattr(comfyui_client, "time", SimpleNamespace(sleep=forget))
    with pytest.raises(RunError, match="no longer knows of this run"):
        ComfyUIClient(comfyui_server.url).run(workflow)


def test_video_that_fails_is_noted_and_the_others_are_made(
    comfyui_server, benchmark, workflow, tmp_path
):
    # The checkpoint cannot place so many frames: known only when the sampler runs.
    workflow["7"]["inputs"]["frames"] = workflow["6"]["inputs"]["frames"] = 64
    method, output = write_method(tmp_path, workflow), tmp_path / "videos"
    arguments = ["run", str(benchmark), "--method", str(method), "--output", str(output)]
    assert main([*arguments, "--server", comfyui_server.url]) == 1
    lines = (output / "Demo" / "failures.jsonl").read_text().splitlines()
    assert len(lines) == 3 and "LivePhotoSampler: " in json.loads(lines[0])["reason"]


def test_refused_workflow_ends_the_run(comfyui_server, benchmark, workflow, tmp_path, capsys):
    workflow["7"]["class_type"] = "NoSuchNode"
    method = write_method(tmp_path, workflow)
    arguments = ["run", str(benchmark), "--method", str(method), "--output", str(tmp_path / "v")]
    assert main([*arguments, "--server", comfyui_server.url]) == 2
    assert "refuses (400)" in capsys.readouterr().err


def test_server_that_is_not_there_is_named():
    with pytest.raises(ServerError, match="no ComfyUI answers at http://127.0.0.1:9"):
        ComfyUIClient("http://127.0.0.1:9").run({})
    with pytest.raises(ServerError, match="must start with http"):
        ComfyUIClient("file:///etc/passwd")
