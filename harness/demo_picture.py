"""The picture that `make demo` animates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from livephoto_core.shapes.base_model import BaseConfig
from livephoto_core.shapes.recognition import ONLY_SHAPES, is_shapes_picture
from livephoto_core.shapes.shipped import example_picture
from livephoto_core.shapes.tracking import seen_colour, seen_shape


class NotShapesError(ValueError):
    """The picture is not of the world that the demo model knows."""


def read_picture(path: Path | None) -> Tensor:
    """The picture to animate, its middle cut out at the size that the model knows.

    Args:
        path: An image file; None for the example picture.
    Returns:
        (h w 3), 0 to 1.
    Raises:
        ValueError: If the file is no picture.
        NotShapesError: If it shows something else than the shapes world.
    """
    if path is None:
        return example_picture()[0]
    side = BaseConfig.size_px
    try:
        with Image.open(path) as stored:
            picture = ImageOps.exif_transpose(stored).convert("RGB")
    except OSError as error:
        raise ValueError(f"--image {path}: expected a picture, such as a PNG: {error}") from error
    image = from_pil(ImageOps.fit(picture, (side, side)))
    if not is_shapes_picture(image):
        raise NotShapesError(f"--image {path}: {ONLY_SHAPES}")
    return image


def name_subject(image: Tensor) -> str:
    """What a picture of the shapes world, (h w 3), shows, such as "a red heart"."""
    colour = seen_colour(image)
    return f"{'an' if colour == 'orange' else 'a'} {colour} {seen_shape(image)}"


def from_pil(picture: Image.Image) -> Tensor:
    """An RGB picture as (h w 3), 0 to 1."""
    return torch.from_numpy(np.array(picture)).float() / 255


def to_pil(image: Tensor) -> Image.Image:
    """A picture (h w 3), 0 to 1, for PIL."""
    return Image.fromarray((image * 255).round().to(torch.uint8).numpy())
