"""`make demo`: one picture, many sentences and levels, in a real ComfyUI.

Runs in the environment. One workflow for each video, so the models stay loaded in between.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from harness.client import ComfyUIClient, Progress, WorkflowResult
from harness.demo_measure import Result, measure, unknown_words
from harness.demo_picture import from_pil, to_pil
from harness.demo_plan import FRAMES_NODE, Request, build_workflow, num_steps
from harness.demo_report import contact_sheet, table
from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.shapes.captions import VOCABULARY
from livephoto_core.shapes.shipped import LIVEPHOTO_PATH

UPLOAD_NAME = "livephoto-demo.png"
SHEET_NAME = "contact-sheet.png"


def run_demo(
    client: ComfyUIClient,
    image: Tensor,
    requests: Sequence[Request],
    *,
    seed: int,
    output: Path,
) -> list[Result]:
    """Make all videos and the contact sheet, and print where they are and what they show.

    Args:
        client: Of a ComfyUI on this machine, with the pack.
        image: From `read_picture`.
        requests: What to make, at least one.
        seed: Of the noise.
        output: Folder to write into, made if need be.
    Raises:
        CheckpointError: If the weights that the pack ships are missing or damaged.
        WorkflowError, WorkflowInterruptedError, ConnectionLostError: See `ComfyUIClient`.
    """
    edges = read_checkpoint(LIVEPHOTO_PATH).config.ssim_edges
    output.mkdir(parents=True, exist_ok=True)
    _print_unknown_words(requests)
    name = _upload(client, image)
    workflows = [build_workflow(request, image_name=name, seed=seed) for request in requests]
    results = []
    with tqdm(total=sum(map(num_steps, workflows)), unit="step") as bar:
        for number, (request, workflow) in enumerate(zip(requests, workflows, strict=True)):
            bar.set_description(f"Video {number + 1} of {len(requests)}")
            run = client.run_workflow(workflow, on_progress=_advance(bar))
            shutil.move(_find_video(run), output / video_name(number, request))
            results.append(measure(request, _read_frames(client, run), run.seconds, edges))
    contact_sheet(results).save(output / SHEET_NAME)
    print(f"\n{table(results)}\n\nVideos: {output}\nContact sheet: {output / SHEET_NAME}")
    return results


def video_name(number: int, request: Request) -> str:
    """File name for a video that tells what was asked, such as "01-it-grows-level-4.mp4"."""
    sentence = "-".join(re.findall(r"[a-z0-9]+", request.prompt.lower()))[:60]
    return f"{number + 1:02d}-{sentence}-level-{request.level:g}.mp4"


def _print_unknown_words(requests: Sequence[Request]) -> None:
    unknown = unknown_words([request.prompt for request in requests])
    if unknown:
        print(
            f"The demo model does not know {', '.join(unknown)}. Its words are: "
            f"{', '.join(sorted(VOCABULARY))}."
        )


def _upload(client: ComfyUIClient, image: Tensor) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / UPLOAD_NAME
        to_pil(image).save(path)
        return client.upload_image(path)


def _advance(bar: tqdm) -> Callable[[Progress], None]:
    """A callback that moves the bar on by the sampler's steps."""
    before = bar.n

    def report(progress: Progress) -> None:
        if progress.class_type == "LivePhotoSampler":
            bar.update(before + progress.value - bar.n)

    return report


def _find_video(run: WorkflowResult) -> Path:
    [video] = [path for path in run.files if path.suffix == ".mp4"]
    return video


def _read_frames(client: ComfyUIClient, run: WorkflowResult) -> Tensor:
    """The frames that the preview node left, (f h w 3)."""
    frames = []
    for path in client.files({FRAMES_NODE: run.outputs[FRAMES_NODE]}):
        with Image.open(path) as picture:
            frames.append(from_pil(picture.convert("RGB")))
    return torch.stack(frames)
