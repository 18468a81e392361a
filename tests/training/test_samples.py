"""Sample videos of a training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from livephoto_core.comfyui.demo_model import load_demo_model
from livephoto_core.comfyui.sampling import sample_livephoto
from livephoto_core.shapes.base_model import BASE_MODEL_PATH
from livephoto_core.training import samples
from livephoto_core.training.ingredients import Snapshot
from livephoto_core.training.loop import Training
from livephoto_core.training.samples import SampleVideos, write_animation
from tests.training.tiny_training import FRAMES, RandomClips, ingredients, options


def frames_of(path) -> np.ndarray:
    with Image.open(path) as image:
        frames = []
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(np.array(image.convert("RGB")))
        return np.stack(frames)


def write_samples(folder, given, *, num_clips=1, num_steps=1, **changes):
    """What a training of the ingredients `given` writes after step 7."""
    parts = Training(options(folder / "run"), given).parts
    vae = load_demo_model(BASE_MODEL_PATH)[2]
    make_samples = SampleVideos(
        given.model,
        given.clips,
        vae=vae,
        encoder=given.encoder[1],
        num_clips=num_clips,
        num_steps=num_steps,
        **changes,
    )
    make_samples(Snapshot(7, parts.config, parts.state_dict(), folder))
    assert all(parameter.requires_grad for parameter in vae.first_stage_model.parameters())
    return folder / "samples" / "step-00000007.webp"


def test_animation_is_written_for_every_clip(tmp_path):
    given = ingredients()
    before = [parameter.clone() for parameter in given.model.model.diffusion_model.parameters()]
    frames = frames_of(write_samples(tmp_path, given, cfg=2.5, num_clips=2, num_steps=2))
    assert frames.shape == (FRAMES, 2 * 64, 2 * 64, 3)
    latents = given.model.model.process_latent_out(RandomClips().load([1]).latents[0])
    clip = load_demo_model(BASE_MODEL_PATH)[2].decode(latents).detach().clamp(0, 1)
    # WebP is lossy; the clip itself is on the left of the second row.
    shown = torch.from_numpy(frames[:, 64:, :64]).float() / 255
    assert (shown - clip).abs().mean() < 0.1
    for parameter, value in zip(
        given.model.model.diffusion_model.parameters(), before, strict=True
    ):
        assert torch.equal(parameter, value)


@pytest.mark.parametrize(("cfg", "bf16"), [(2.5, False), (7.5, True)])
def test_samples_are_guided_as_asked_and_computed_as_the_training(cfg, bf16, tmp_path, monkeypatch):
    seen = []

    def sample(*arguments, **options):
        seen.append((options["cfg"], torch.is_autocast_enabled("cpu")))
        return sample_livephoto(*arguments, **options)

    monkeypatch.setattr(samples, "sample_livephoto", sample)
    written = write_samples(tmp_path, ingredients(), cfg=cfg, bf16=bf16)
    assert seen == [(cfg, bf16)]
    assert len(frames_of(written)) == FRAMES


def test_decoded_frames_keep_no_graph(tmp_path, monkeypatch):
    """Of a real VAE's decoder it would be a gigabyte for every frame."""
    written = []
    monkeypatch.setattr(samples, "write_animation", lambda path, images: written.append(images))
    write_samples(tmp_path, ingredients(), cfg=1)
    [images] = written
    assert not images.requires_grad


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_animation_holds_its_frames_at_its_speed(tmp_path, suffix):
    values = torch.arange(3).view(3, 1, 1, 1).expand(3, 16, 24, 3) / 2
    path = tmp_path / f"video{suffix}"
    write_animation(path, values, fps=5)
    assert frames_of(path).shape == (3, 16, 24, 3)
    assert np.abs(frames_of(path)[:, 8, 8, 0] - [0, 128, 255]).max() <= 3
    with Image.open(path) as image:
        image.seek(1)
        image.load()
        assert image.info["duration"] == 200
