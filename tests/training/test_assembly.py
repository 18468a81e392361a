"""From videos to a checkpoint by the command line alone, on a file in SD-1.5's format."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.environment import prepare
from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.comfyui.training_unet import load_base
from livephoto_core.models.config import UNetLayout
from livephoto_core.training.__main__ import main
from livephoto_core.training.config import read_options
from livephoto_core.training.log import read_log
from livephoto_core.training.preparation.description import FACTS_FILE
from livephoto_core.training.state import STEP_ENTRY, checkpoint_path
from tests.comfyui.sd15_checkpoint import _checkpoint_modules, random_state_dict, small_model
from tests.training.preparation.videos import moving_texture, write_video
from tests.training.tiny_training import tiny_dinov2

LAYOUT = UNetLayout(
    block_channels=(320, 640), layers_per_block=1, attention_levels=(0,), context_dim=768
)
SETTINGS = (
    "run.batch_size=2",
    "run.bf16=false",
    "run.log_every=1",
    "run.save_every=1",
    "run.sensitivity_every=1",
    "run.sample_every=1",
)


def write_base(path: Path, *, whole: bool = True) -> Path:
    """A checkpoint of SD-1.5 with two levels of its UNet: as wide, but a fraction of its weights.

    VAE and text encoder are those of SD-1.5, or are missing.
    """
    unet = small_model(
        model_channels=320,
        channel_mult=[1, 2],
        num_res_blocks=[1, 1],
        transformer_depth=[1, 0],
        transformer_depth_output=[1, 1, 0, 0],
    ).model.diffusion_model
    weights = {f"model.diffusion_model.{name}": w.half() for name, w in unet.state_dict().items()}
    for prefix, module in _checkpoint_modules() if whole else ():
        if prefix != "model.diffusion_model.":
            weights |= random_state_dict(module, prefix=prefix, dtype=torch.float16)
    save_file(weights, path)
    return path


def write_videos(folder: Path) -> Path:
    for number in range(3):
        video = moving_texture(4, speed_px=number, seed=number)
        write_video(folder / f"{number}.mp4", video).with_suffix(".txt").write_text(f"{number} px")
    return folder


def run(command: str, *arguments: object) -> None:
    given = [command, "--comfyui", str(prepare().comfyui), *map(str, arguments)]
    assert main(given) == 0


def test_base_without_a_vae_is_refused_if_samples_are_asked_for(tmp_path):
    base = write_base(tmp_path / "base.safetensors", whole=False)
    with pytest.raises(ValueError, match=r"base.safetensors holds no VAE.*run.sample_every=0"):
        load_base(base, with_vae=True)
    model, vae = load_base(base)
    assert model is not None and vae is None


@pytest.mark.slow
def test_training_from_files_can_be_moved_and_goes_on(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    base, videos = write_base(tmp_path / "base.safetensors"), write_videos(tmp_path / "videos")
    data, folder, moved = (tmp_path / name for name in ("data", "run", "moved"))
    encoder = tmp_path / "dinov2.safetensors"
    save_file(tiny_dinov2()[1].state_dict(), encoder)
    clips = "--size", "32x32", "--frames", "2", "--workers", "1"
    run("prepare", "--source", videos, "--output", data, "--checkpoint", base, *clips)
    assert f"0 of 3 videos were left out; the reasons are in {data}/rejected" in caplog.text
    assert f"{data} is complete: 3 clips." in caplog.text
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    files = "--base", base, "--data", data, "--content-encoder", encoder, "--output", folder
    others = "--set", f"files.validation={data}", "--set", "run.validation_clips=2"
    run("train", *files, *settings, *others, "--set", "run.steps=1")
    assert "encoded with another checkpoint" not in caplog.text
    folder.rename(moved)
    facts = data / FACTS_FILE
    facts.write_text(re.sub('"sha256": "[0-9a-f]+"', '"sha256": "another"', facts.read_text()))
    run("train", "--resume", moved, "--set", "run.steps=2")
    assert f"{data} was encoded with another checkpoint than {base}" in caplog.text

    first, second = (read_checkpoint(checkpoint_path(moved, step)) for step in (1, 2))
    assert second.config == first.config
    assert second.config.layout == LAYOUT and second.config.training_size_px == (32, 32)
    assert second.config.content and second.config.content.encoder == "dinov2-32x1"
    assert second.metadata == {STEP_ENTRY: "2"}
    changed = {
        name.split(".")[0]
        for name, tensor in second.state_dict.items()
        if not torch.equal(tensor, first.state_dict[name])
    }
    assert changed == {"motion", "input_conditioning", "content", "text_reweighting"}
    log = read_log(moved)
    assert [line["step"] for line in log] == [1, 1, 2, 2]
    assert ["validation_loss" in line for line in log] == [False, True, False, True]
    assert all(math.isfinite(value) for line in log for value in line.values())
    samples = sorted(path.name for path in (moved / "samples").iterdir())
    assert samples == ["step-00000001.webp", "step-00000002.webp"]
    assert read_options(moved).files.output == str(moved) and not folder.exists()
