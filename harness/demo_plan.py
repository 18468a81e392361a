"""What `make demo` asks for: sentences and levels, and the workflow that makes each video.

Standard library only: the command line is read before there is an environment.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environment import REPOSITORY

WORKFLOW_PATH = REPOSITORY / "workflows" / "api" / "demo.json"
OUTPUT_FOLDER = REPOSITORY / "demo"

PICTURE_NODE, FRAMES_NODE = "picture", "frames"
"""Ids of the nodes that a demo run adds to the workflow."""

DEFAULT_LEVEL = 5.0
DEFAULT_PLAN = (
    ("{subject} moves left", (6,)),
    ("{subject} moves right", (6,)),
    ("{subject} moves up", (6,)),
    ("{subject} turns clockwise", (6,)),
    ("{subject} turns counterclockwise", (6,)),
    ("{subject} grows", (4,)),
    ("{subject} shrinks", (2,)),
    ("{subject} waves", (9,)),
    ("{subject}, the camera zooms in", (6,)),
    ("{subject}, another one appears", (3,)),
    ("{subject}, lightning flashes", (8,)),
    ("{subject}, the camera pans left", (3, 9)),
)
"""Sentences and levels that the shapes world knows of the example picture."""


@dataclass(frozen=True)
class Request:
    """One video to make.

    Args:
        prompt: The sentence.
        level: Motion intensity, 1 to 10.
    """

    prompt: str
    level: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The demo's own part of the command line; all of it is optional."""
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="a picture of one shape (default: a red heart)"
    )
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar="SENTENCE",
        help='such as "a red circle moves left"; several make a video each (default: a dozen)',
    )
    parser.add_argument(
        "--intensity",
        action="append",
        default=[],
        type=_level,
        metavar="LEVEL",
        help="how much moves, 1 to 10; several make a video each (default: what suits)",
    )
    parser.add_argument("--seed", type=_seed, default=0, help="of the noise (default: 0)")
    parser.add_argument(
        "--output",
        type=Path,
        default=OUTPUT_FOLDER,
        metavar="FOLDER",
        help="for videos and contact sheet (default: demo)",
    )


def plan_requests(
    prompts: Sequence[str], levels: Sequence[float], subject: str
) -> tuple[Request, ...]:
    """Every sentence at every level, each once.

    Args:
        prompts: Sentences from the command line; without any, those of `DEFAULT_PLAN`.
        levels: From the command line; without any, those of `DEFAULT_PLAN`, or 5.
        subject: What the picture shows, such as "a red heart", for the default sentences.
    """
    plan = [(prompt, (DEFAULT_LEVEL,)) for prompt in prompts] or [
        (sentence.format(subject=subject), own_levels) for sentence, own_levels in DEFAULT_PLAN
    ]
    requests = [Request(prompt, level) for prompt, own in plan for level in levels or own]
    return tuple(dict.fromkeys(requests))


def build_workflow(request: Request, *, image_name: str, seed: int) -> dict[str, dict[str, Any]]:
    """The shipped demo workflow in API format, for one video of a picture of the user's.

    Args:
        request: Sentence and level.
        image_name: Of the picture in ComfyUI's input folder.
        seed: Of the noise.
    """
    workflow = json.loads(WORKFLOW_PATH.read_text(encoding="utf-8"))
    [(_, sampler)] = _find(workflow, "LivePhotoSampler")
    [(_, reweight)] = _find(workflow, "TextReweight")
    [(_, reference)] = _find(workflow, "ReferenceEncode")
    [(decode, _)] = _find(workflow, "VAEDecode")
    sampler |= {"seed": seed, "motion_intensity": request.level}
    sentence, _ = reweight["positive"]
    workflow[sentence]["inputs"]["text"] = request.prompt
    reference["image"] = [PICTURE_NODE, 0]
    workflow[PICTURE_NODE] = {"class_type": "LoadImage", "inputs": {"image": image_name}}
    # The frames as they are: a video's compression would be measured with the motion.
    workflow[FRAMES_NODE] = {"class_type": "PreviewImage", "inputs": {"images": [decode, 0]}}
    return workflow


def num_steps(workflow: dict[str, dict[str, Any]]) -> int:
    """Sampling steps of a workflow of `build_workflow`."""
    [(_, sampler)] = _find(workflow, "LivePhotoSampler")
    return sampler["steps"]


def _find(workflow: dict[str, dict[str, Any]], class_type: str) -> list[tuple[str, dict[str, Any]]]:
    """Id and inputs of all nodes of a class."""
    return [
        (key, node["inputs"]) for key, node in workflow.items() if node["class_type"] == class_type
    ]


def _level(text: str) -> float:
    level = float(text)
    if not 1 <= level <= 10:
        raise argparse.ArgumentTypeError(f"expected a level from 1 to 10, got {text}")
    return level


def _seed(text: str) -> int:
    seed = int(text)
    if not 0 <= seed < 2**64:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 2**64 - 1, got {text}")
    return seed
