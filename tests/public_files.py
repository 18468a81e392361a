"""Files that templates name and anyone can download.

ComfyUI's front end offers the download where a template's file is missing: it takes the address
from the node's property `models`.
"""

from __future__ import annotations

from typing import NamedTuple

HUGGING_FACE = "https://huggingface.co/"


class PublicFile(NamedTuple):
    """Where a file is from.

    Args:
        repository: On Hugging Face.
        directory: Under ComfyUI's `models`.
        name_there: In the repository, where it has another name.
    """

    repository: str
    directory: str
    name_there: str | None = None


PUBLIC_FILES = {
    "v1-5-pruned-emaonly-fp16.safetensors": PublicFile(
        "Comfy-Org/stable-diffusion-v1-5-archive", "checkpoints"
    ),
    "DreamShaper_8_pruned.safetensors": PublicFile("Lykon/DreamShaper", "checkpoints"),
    "pia.ckpt": PublicFile("Leoxing/PIA", "animatediff_models"),
    "v3_sd15_mm.ckpt": PublicFile("guoyww/animatediff", "animatediff_models"),
    "dinov2-large.safetensors": PublicFile(
        "facebook/dinov2-large", "clip_vision", "model.safetensors"
    ),
}


def models_property(names: list[str]) -> list[dict[str, str]]:
    """The property of a node whose widgets name these files, as the front end reads it."""
    return [
        {
            "name": name,
            "url": f"{HUGGING_FACE}{file.repository}/resolve/main/{file.name_there or name}",
            "directory": file.directory,
        }
        for name in names
        for file in [PUBLIC_FILES[name]]
    ]


def public_files_of(inputs: dict[str, object]) -> list[str]:
    """The public files among a node's values, in API format."""
    return [value for value in inputs.values() if isinstance(value, str) and value in PUBLIC_FILES]
