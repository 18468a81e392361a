"""A small benchmark on disk: two tracks, three photos, and videos of two methods."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from livephoto_core.evaluation.protocol import read_benchmark
from tests.evaluation.test_videos import write_video

METHODS = ("LivePhoto", "PIA")


def write_benchmark(folder: Path, *, seeds=(0, 1)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ("h1.png", "a1.png", "a2.png"):
        Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(folder / name)
    tracks = {
        "humans": [{"image": "h1.png", "prompts": ["she waves", "she </script> smiles"]}],
        "still objects": [
            {"image": "a1.png", "prompts": ["it turns"]},
            {"image": "a2.png", "prompts": ["it falls"]},
        ],
    }
    path = folder / "benchmark.json"
    path.write_text(json.dumps({"tracks": tracks, "seeds": list(seeds)}))
    return path


def write_videos(folder: Path, benchmark: Path) -> Path:
    for method in METHODS:
        for sample in read_benchmark(benchmark):
            path = folder / method / f"{sample.name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path)
    return folder


def write_results(path: Path, key: Path, rater: str, answers: dict) -> Path:
    study = json.loads(key.read_text())
    content = {"study": study["id"], "kind": study["kind"], "rater": rater, "answers": answers}
    path.write_text(json.dumps(content))
    return path
