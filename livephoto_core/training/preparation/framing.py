"""A video frame as a training picture: upright, centre-cropped, at the training size."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]


def frame_picture(
    frame: av.VideoFrame, *, size_px: tuple[int, int], pixel_aspect: Fraction
) -> np.ndarray:
    """The middle of a frame, as large as fits, at the training size.

    Cropped to whole pixels, then antialiased with Lanczos: as ReferenceEncode fits the photo. A
    rotation in the video's metadata is applied, and pixels that are not square are made so.

    Args:
        frame: Of any pixel format.
        size_px: (width, height) of the picture.
        pixel_aspect: Width of a pixel over its height.
    Returns:
        (h w 3), uint8.
    """
    quarter_turns = round(frame.rotation / 90) % 4
    width, height = size_px if quarter_turns % 2 == 0 else size_px[::-1]
    aspect = Fraction(width, height) / pixel_aspect
    box = centre_box(frame.width, frame.height, aspect=aspect)
    image = frame.to_image().crop(box).resize((width, height), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.rot90(np.asarray(image), quarter_turns))


def centre_box(width: int, height: int, *, aspect: Fraction) -> Box:
    """The largest centred box whose width is `aspect` times its height, to a pixel.

    Returns:
        (left, top, right, bottom), right and bottom exclusive.
    """
    box_width = max(1, round(min(Fraction(width), height * aspect)))
    box_height = max(1, round(min(Fraction(height), width / aspect)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height
