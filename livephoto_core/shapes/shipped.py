"""What the pack ships of the synthetic world beside the base model: motion, and a picture."""

from __future__ import annotations

from torch import Tensor

from .base_model import BASE_MODEL_PATH, BaseConfig
from .rendering import render_clip
from .scene import Scene, sample_scene

LIVEPHOTO_PATH = BASE_MODEL_PATH.parent / "livephoto" / "livephoto-shapes.safetensors"
"""The LivePhoto parts for the tiny base model, alone in a folder that LivePhotoLoader lists."""

EXAMPLE_SCENE: Scene = sample_scene(5, 134, shapes=("heart",), colours=("red",), motions=("still",))
"""A red heart near the middle, which has way to go in all directions."""


def example_picture() -> Tensor:
    """The first frame of `EXAMPLE_SCENE` at the size that the model knows, (1 h w 3), 0 to 1."""
    return render_clip(EXAMPLE_SCENE, num_frames=1, size_px=BaseConfig.size_px)
