"""What a study starts from: a random base model, its clips, and a checkpoint for it."""

from __future__ import annotations

from pathlib import Path

from harness.environment import prepare
from livephoto_core.checkpoints import write_checkpoint
from livephoto_core.models.config import LivePhotoConfig, MotionConfig
from livephoto_core.motion_intensity import DEFAULT_EDGES
from livephoto_core.shapes.__main__ import main as shapes
from livephoto_core.shapes.base_model import NOISE_SCHEDULE
from tests.checkpoints.weight_files import random_weights
from tests.shapes.base_models import TINY_BASE, write_random_base


def write_study_files(folder: Path) -> dict[str, Path]:
    """The files by their names in `Study`."""
    comfyui, data = prepare().comfyui, folder / "clips"
    base = write_random_base(folder / "base.safetensors")
    files = ["--base", str(base), "--output", str(data), "--comfyui", str(comfyui)]
    assert shapes(["clips", *files, "--num-clips", "16", "--num-workers", "0"]) == 0
    config = LivePhotoConfig(
        layout=TINY_BASE.unet,
        motion=MotionConfig(),
        ssim_edges=DEFAULT_EDGES,
        noise_schedule=NOISE_SCHEDULE,
    )
    checkpoint = folder / "given.safetensors"
    write_checkpoint(checkpoint, config, random_weights(config))
    return {"base": base, "data": data, "checkpoint": checkpoint, "comfyui": comfyui}
