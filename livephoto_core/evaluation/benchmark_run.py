"""Makes the videos of a benchmark, and goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..atomic_files import write_atomically
from ..file_digest import file_sha256
from .comfyui_client import ComfyUIClient, RunError
from .protocol import Method, Sample, video_path

FAILURES_FILE = "failures.jsonl"
ASKED_FILE = "asked.json"
"""Digest of what each video was made of, by the sample's name."""


@dataclass(frozen=True)
class RunResult:
    """What a call has come to.

    Args:
        num_made: Videos made now.
        num_there: Videos that an earlier call had made.
        num_failed: Videos that could not be made; `failures.jsonl` has the reasons.
    """

    num_made: int
    num_there: int
    num_failed: int


def run_benchmark(
    client: ComfyUIClient, method: Method, samples: Sequence[Sample], folder: Path
) -> RunResult:
    """Makes all videos that are not there yet.

    A video that fails is noted and left out; the next call tries it again.

    Args:
        client: Runs the workflows.
        method: Makes the videos.
        samples: Which ones.
        folder: Gets `<method>/<track>/<image>-<prompt>-seed<n>.mp4`.
    Raises:
        ValueError: If a video that is there was made of another photo, prompt or workflow.
        ServerError: If the server goes away, or refuses the workflow: all others would fail too.
    """
    missing = [s for s in samples if not video_path(folder, method.name, s).is_file()]
    failures = folder / method.name / FAILURES_FILE
    failures.parent.mkdir(parents=True, exist_ok=True)
    _keep_what_is_asked(failures.with_name(ASKED_FILE), method, samples, missing)
    failures.write_text("")
    uploaded: dict[Path, str] = {}
    num_failed = 0
    for sample in tqdm(missing, unit="video", desc=method.name):
        if sample.image not in uploaded:
            uploaded[sample.image] = client.upload(sample.image)
        name = uploaded[sample.image]
        workflow = method.filled(image=name, prompt=sample.prompt, seed=sample.seed)
        try:
            video = client.run(workflow)
        except RunError as error:
            num_failed += 1
            with failures.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"video": sample.name, "reason": str(error)}) + "\n")
            continue
        path = video_path(folder, method.name, sample)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, video)
    return RunResult(len(missing) - num_failed, len(samples) - len(missing), num_failed)


def _keep_what_is_asked(
    path: Path, method: Method, samples: Sequence[Sample], missing: Sequence[Sample]
) -> None:
    """Stores what all videos are made of, unless one that is there was made of something else."""
    photos = {photo: file_sha256(photo) for photo in {sample.image for sample in samples}}
    asked = {sample.name: _digest(method, sample, photos[sample.image]) for sample in samples}
    before = json.loads(path.read_bytes()) if path.is_file() else {}
    there = asked.keys() - {sample.name for sample in missing}
    if others := sorted(name for name in there if before.get(name) != asked[name]):
        raise ValueError(
            f"--output: {len(others)} of {len(there)} videos in {path.parent} were made of another "
            f"photo, prompt or workflow, or it is not known of what: {', '.join(others[:5])}"
            f"{' …' if len(others) > 5 else ''}. Delete them to make them anew, or give another "
            "--output."
        )
    write_atomically(path, json.dumps({**before, **asked}, indent=1).encode())


def _digest(method: Method, sample: Sample, photo: str) -> str:
    filled = method.filled(image=photo, prompt=sample.prompt, seed=sample.seed)
    # Titles are among what is left out.
    workflow = {key: (node["class_type"], node["inputs"]) for key, node in filled.items()}
    return hashlib.sha256(json.dumps(workflow, sort_keys=True).encode()).hexdigest()
