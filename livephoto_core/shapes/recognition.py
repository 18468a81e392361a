"""Whether a picture is one of the synthetic world, which is all that the demo model knows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .scene import COLOURS

ONLY_SHAPES = (
    "The demo model knows only coloured shapes, not photos: for those take the workflow pia, with "
    "an SD-1.5 checkpoint. The README lists the files under Install."
)
"""What to tell someone whose picture is not of the world."""

_SIZE_PX = 64
_MAX_GREY_CHROMA = 0.12
_MAX_COLOUR_DISTANCE = 0.15
_MIN_GREY_SHARE, _MIN_COLOURED_SHARE, _MIN_EXPLAINED_SHARE = 0.6, 0.003, 0.9


def is_shapes_picture(image: Tensor) -> bool:
    """Whether a picture could be of the synthetic world: one of its colours on muted tones.

    Our choice: at 64 px, at least 90 % of the pixels are nearly grey or nearly of one and the same
    colour of `COLOURS`, and there are some of the colour and many of the grey. All frames of the
    world reach 97 %; photos have no such colour, or far more between it and grey.

    Args:
        image: (h w 3), 0 to 1, of any size.
    Raises:
        ValueError: If the picture is of another shape.
    """
    if image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"image must be one picture (h w 3), got {tuple(image.shape)}.")
    pixels = _reduced(image)
    is_grey = pixels.amax(dim=-1) - pixels.amin(dim=-1) < _MAX_GREY_CHROMA
    colours = torch.tensor(list(COLOURS.values()))
    is_coloured = (pixels[:, None] - colours).norm(dim=-1) < _MAX_COLOUR_DISTANCE
    is_coloured = is_coloured[:, is_coloured.sum(dim=0).argmax()]
    return (
        _share(is_grey) >= _MIN_GREY_SHARE
        and _share(is_coloured) >= _MIN_COLOURED_SHARE
        and _share(is_grey | is_coloured) >= _MIN_EXPLAINED_SHARE
    )


def _reduced(image: Tensor) -> Tensor:
    """Pixels at the working size, (n, 3)."""
    channels = image.detach().to("cpu", torch.float32).movedim(-1, 0)[None]
    reduced = F.interpolate(channels, (_SIZE_PX, _SIZE_PX), mode="area")
    return reduced[0].flatten(1).T


def _share(mask: Tensor) -> float:
    return mask.float().mean().item()
