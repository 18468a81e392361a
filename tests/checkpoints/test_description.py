"""What Load LivePhoto says of a file: its parts, and which inputs matter with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.checkpoints.description import advise
from livephoto_core.models.config import ContentConfig, LivePhotoConfig, MotionConfig
from livephoto_core.shapes.shipped import LIVEPHOTO_PATH
from tests.checkpoints.weight_files import TINY, animatediff_shapes, write_archive

NO_PHOTO = "Knows no photo: connect Prior Inversion."
USED, IGNORED = "Motion intensity: used.", "Motion intensity: ignored."
NO_WEIGHTS = "Text Reweight: only overrides count."
SIZE = "Made for 16 frames of 512×512 pixels, at most 32 at a time."
V3 = animatediff_shapes(32)
PIA = V3 | {"conv_in.weight": (320, 9, 3, 3), "conv_in.bias": (320,)}


def test_shipped_checkpoint_asks_for_the_demo_models_encoder():
    encoder, intensity, size = advise(read_checkpoint(LIVEPHOTO_PATH).config)
    assert encoder == (
        "Encode Reference needs the image encoder it came with (for the demo: clip_vision of Load "
        "Demo Model)."
    )
    assert intensity == USED
    assert size == "Made for 16 frames of 64×64 pixels, at most 32 at a time."


@pytest.mark.parametrize("size", ["small", "base", "large", "giant"])
def test_public_encoder_is_named(size):
    config = LivePhotoConfig(content=ContentConfig(encoder=f"dinov2-{size}"))
    assert advise(config)[0] == f"Encode Reference needs Load DINOv2 (dinov2-{size})."


def test_animatediff_knows_no_photo_and_no_intensity(tmp_path: Path):
    checkpoint = read_checkpoint(write_archive(tmp_path / "v3_sd15_mm.ckpt", V3))
    assert advise(checkpoint.config) == [NO_PHOTO, IGNORED, NO_WEIGHTS, SIZE]


def test_pia_uses_intensity_in_its_own_way(tmp_path: Path):
    checkpoint = read_checkpoint(write_archive(tmp_path / "pia.ckpt", PIA))
    assert advise(checkpoint.config) == [
        "Motion intensity: used (1, 5.5, 10: PIA's small, medium, large motion).",
        NO_WEIGHTS,
        SIZE,
    ]


def test_parts_without_a_photo_or_intensity_need_neither():
    assert advise(replace(TINY, content=None))[:-1] == [USED]
    motion = LivePhotoConfig(motion=MotionConfig())
    assert advise(motion)[:-1] == [NO_PHOTO, IGNORED, NO_WEIGHTS]


def test_parts_without_motion_limit_no_frames():
    assert advise(LivePhotoConfig())[-1] == "Made for 16 frames of 256×256 pixels."
