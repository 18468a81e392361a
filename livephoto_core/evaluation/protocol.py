"""The paper's benchmark (LivePhoto, section 4.3): five tracks, images, prompts, several seeds.

| file | content |
|---|---|
| benchmark.json | `{"tracks": {"humans": [{"image": "h1.jpg", "prompts": ["…"]}]}, "seeds": [0]}` |
| method.json | `{"name": "LivePhoto", "workflow": "api.json", "inputs": {"image": "3.image", …}}` |

Paths are relative to the file that names them. The paper's tracks are humans, animals, cartoon
characters, still objects and natural sceneries; a benchmark may have others.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .json_files import read_object

VIDEO_SUFFIX = ".mp4"
"""Of the videos that are taken: what every browser shows on the page for raters."""

FILLED_INPUTS = ("image", "prompt", "seed")

Workflow = dict[str, dict[str, Any]]
"""A workflow in ComfyUI's API format."""


@dataclass(frozen=True)
class Sample:
    """One video to make.

    Args:
        track: Kind of picture.
        image: The photo.
        prompt: The sentence.
        prompt_number: Which of the photo's sentences, from 1.
        seed: Of the noise.
    """

    track: str
    image: Path
    prompt: str
    prompt_number: int
    seed: int

    @property
    def case(self) -> str:
        """Photo and sentence, whatever the seed: "humans/h1-1"."""
        track = re.sub(r"\W+", "-", self.track)
        return f"{track}/{self.image.stem}-{self.prompt_number}"

    @property
    def name(self) -> str:
        """A path for its video, without suffix: "humans/h1-1-seed3"."""
        return f"{self.case}-seed{self.seed}"


def video_path(folder: Path, method: str, sample: Sample) -> Path:
    """Where the video of a sample lies, for the method of a name."""
    return folder / method / f"{sample.name}{VIDEO_SUFFIX}"


@dataclass(frozen=True)
class Method:
    """A way to make videos.

    Args:
        name: For tables.
        workflow: In API format.
        inputs: Where image, prompt and seed go, as (node id, input name).
    """

    name: str
    workflow: Workflow
    inputs: Mapping[str, tuple[str, str]]

    def filled(self, *, image: str, prompt: str, seed: int) -> Workflow:
        """The workflow for one video.

        Args:
            image: Name of the photo in ComfyUI's input folder.
            prompt: The sentence.
            seed: Of the noise.
        """
        workflow = copy.deepcopy(self.workflow)
        for kind, value in {"image": image, "prompt": prompt, "seed": seed}.items():
            node, name = self.inputs[kind]
            workflow[node]["inputs"][name] = value
        return workflow


def read_benchmark(path: Path) -> list[Sample]:
    """All videos that a benchmark asks for, track by track.

    Raises:
        ValueError: If the file is not a benchmark, or a photo is missing.
    """
    content = read_object(path, "benchmark")
    try:
        seeds = [int(seed) for seed in _list(content["seeds"])]
        samples = [
            Sample(str(track), path.parent / entry["image"], str(prompt), number, seed)
            for track, entries in content["tracks"].items()
            for entry in entries
            for number, prompt in enumerate(_list(entry["prompts"]), start=1)
            for seed in seeds
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"benchmark: {path.name} must hold tracks with images and prompts, and seeds "
            f"({error!r}). See livephoto_core/evaluation/protocol.py."
        ) from error
    if not samples:
        raise ValueError(f"benchmark: {path.name} asks for no video.")
    missing = sorted({str(s.image) for s in samples if not s.image.is_file()})
    if missing:
        raise ValueError(f"benchmark: {len(missing)} images are missing, such as {missing[0]}.")
    _check_names(path, samples)
    return samples


def _list(value: Any) -> list[Any]:
    # A text would be taken letter by letter.
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def read_method(path: Path) -> Method:
    """A method's file with its workflow.

    Raises:
        ValueError: If it is not one, or names nodes or inputs that the workflow does not have.
    """
    content = read_object(path, "method")
    try:
        workflow = read_object(path.parent / content["workflow"], "workflow")
        places = {kind: content["inputs"][kind].rpartition(".") for kind in FILLED_INPUTS}
        name = str(content["name"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"method: {path.name} must hold name, workflow, and inputs with "
            f"{', '.join(FILLED_INPUTS)} ({error!r})."
        ) from error
    if "nodes" in workflow:
        raise ValueError(
            f"method: {content['workflow']} is in the front end's format. Export it with "
            "Workflow → Export (API)."
        )
    for kind, (node, _, input_name) in places.items():
        if input_name not in workflow.get(node, {}).get("inputs", {}):
            raise ValueError(
                f"method: inputs.{kind} is {content['inputs'][kind]!r}, but the workflow has no "
                "such input. Write the node's id, a dot and the input's name."
            )
    inputs = {kind: (node, input_name) for kind, (node, _, input_name) in places.items()}
    return Method(name, workflow, inputs)


def _check_names(path: Path, samples: list[Sample]) -> None:
    seen: dict[str, Sample] = {}
    for sample in samples:
        other = seen.setdefault(sample.name, sample)
        if other is not sample:
            raise ValueError(
                f"benchmark: {path.name} has two videos called {sample.name}. Give images of a "
                "track different names, and each seed once."
            )
