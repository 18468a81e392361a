"""The benchmark's file and a method's."""

from __future__ import annotations

import copy
import json

import pytest

from livephoto_core.evaluation.protocol import read_benchmark, read_method
from tests.evaluation.studies import write_benchmark

WORKFLOW = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["9", 1]}},
    "3": {"class_type": "LivePhotoSampler", "inputs": {"seed": 0, "positive": ["2", 0]}},
}
METHOD = {
    "name": "LivePhoto",
    "workflow": "api.json",
    "inputs": {"image": "1.image", "prompt": "2.text", "seed": "3.seed"},
}


def write_method(folder, **changes):
    (folder / "api.json").write_text(json.dumps(changes.pop("workflow_content", WORKFLOW)))
    path = folder / "method.json"
    path.write_text(json.dumps({**METHOD, **changes}))
    return path


def test_benchmark_asks_for_every_prompt_and_seed_of_every_photo(tmp_path):
    samples = read_benchmark(write_benchmark(tmp_path))
    assert len(samples) == 8 and len({sample.name for sample in samples}) == 8
    assert samples[3].name == "humans/h1-2-seed1" and samples[3].prompt == "she </script> smiles"
    assert samples[4].name == "still-objects/a1-1-seed0" and samples[4].image.is_file()


def test_paper_protocol_has_800_samples(tmp_path):
    path = write_benchmark(tmp_path)
    (tmp_path / "h1.png").rename(tmp_path / "0.png")
    for number in range(1, 10):
        (tmp_path / f"{number}.png").write_bytes(b"")
    photos = [{"image": f"{n}.png", "prompts": ["one", "two"]} for n in range(10)]
    tracks = {f"track {n}": photos for n in range(5)}
    path.write_text(json.dumps({"tracks": tracks, "seeds": list(range(8))}))
    assert len(read_benchmark(path)) == 800


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must hold a JSON object"),
        ({"tracks": {}}, "must hold tracks with images and prompts, and seeds"),
        ({"tracks": {"a": [{"image": "h1.png"}]}, "seeds": [0]}, "'prompts'"),
        (
            {"tracks": {"a": [{"image": "h1.png", "prompts": "she"}]}, "seeds": [0]},
            "'she' is no list",
        ),
        ({"tracks": {}, "seeds": "12"}, "'12' is no list"),
        ({"tracks": {}, "seeds": [0]}, "asks for no video"),
        (
            {"tracks": {"a": [{"image": "none.png", "prompts": ["x"]}]}, "seeds": [0]},
            "1 images are missing, such as .*none.png",
        ),
        (
            {"tracks": {"a": [{"image": "h1.png", "prompts": ["x"]}]}, "seeds": [0, 0]},
            "two videos called a/h1-1-seed0",
        ),
    ],
)
def test_wrong_benchmark_is_refused(content, message, tmp_path):
    path = write_benchmark(tmp_path)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_benchmark(path)


def test_method_fills_in_image_prompt_and_seed_and_nothing_else(tmp_path):
    method = read_method(write_method(tmp_path))
    filled = method.filled(image="h1.png", prompt="she waves", seed=7)
    expected = copy.deepcopy(WORKFLOW)
    expected["1"]["inputs"]["image"] = "h1.png"
    expected["2"]["inputs"]["text"] = "she waves"
    expected["3"]["inputs"]["seed"] = 7
    assert filled == expected
    assert method.workflow == WORKFLOW


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": {"image": "1.image"}}, "must hold name, workflow, and inputs with image"),
        ({"inputs": {**METHOD["inputs"], "seed": "3.sead"}}, "inputs.seed is '3.sead'"),
        ({"inputs": {**METHOD["inputs"], "seed": "9.seed"}}, "inputs.seed is '9.seed'"),
        ({"workflow": "none.json"}, "workflow: .*none.json cannot be read"),
        ({"workflow_content": {"nodes": [], "links": []}}, "front end's format"),
    ],
)
def test_wrong_method_is_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_method(write_method(tmp_path, **changes))
