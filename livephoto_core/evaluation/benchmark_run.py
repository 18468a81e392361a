"""Makes the videos of a benchmark, and goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from ..atomic_files import write_atomically
from .comfyui_server import RunError
from .protocol import Method, Sample, Workflow

FAILURES_FILE = "failures.jsonl"
VIDEO_SUFFIX = ".mp4"


class Server(Protocol):
    """What runs the workflows, as `comfyui_server.ComfyUIServer` does."""

    def upload(self, path: Path) -> str:
        """Takes a photo."""
        ...

    def run(self, workflow: Workflow) -> bytes:
        """Gives a video."""
        ...


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


def video_path(folder: Path, method: Method, sample: Sample) -> Path:
    """Where the video of a sample lies."""
    return folder / method.name / f"{sample.name}{VIDEO_SUFFIX}"


def run_benchmark(
    server: Server, method: Method, samples: Sequence[Sample], folder: Path
) -> RunResult:
    """Makes all videos that are not there yet.

    A video that fails is noted and left out; the next call tries it again.

    Args:
        server: Runs the workflows.
        method: Makes the videos.
        samples: Which ones.
        folder: Gets `<method>/<track>/<image>-<prompt>-seed<n>.mp4`.
    Raises:
        ServerError: If the server goes away, or refuses the workflow: all others would fail too.
    """
    missing = [s for s in samples if not video_path(folder, method, s).is_file()]
    failures = folder / method.name / FAILURES_FILE
    failures.parent.mkdir(parents=True, exist_ok=True)
    failures.write_text("")
    uploaded: dict[Path, str] = {}
    num_failed = 0
    for sample in tqdm(missing, unit="video", desc=method.name):
        if sample.image not in uploaded:
            uploaded[sample.image] = server.upload(sample.image)
        name = uploaded[sample.image]
        workflow = method.filled(image=name, prompt=sample.prompt, seed=sample.seed)
        try:
            video = server.run(workflow)
        except RunError as error:
            num_failed += 1
            with failures.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"video": sample.name, "reason": str(error)}) + "\n")
            continue
        path = video_path(folder, method, sample)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, video)
    return RunResult(len(missing) - num_failed, len(samples) - len(missing), num_failed)
