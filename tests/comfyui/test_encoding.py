import argparse
import hashlib
import json
import tarfile

import comfy.ops
import comfy.sd
import comfy.utils
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from livephoto_core.comfyui.encoding import load_checkpoint_encoder, sd15_latent_format
from livephoto_core.training.preparation import command
from tests.comfyui.sd15_checkpoint import UNET_CONFIG
from tests.training.preparation.videos import moving_texture, write_video

SD15_SCALE = 0.18215


@pytest.fixture(scope="module")
def encoder(sd15_checkpoint):
    return load_checkpoint_encoder(sd15_checkpoint)


@pytest.fixture(scope="module")
def clip_and_vae(sd15_checkpoint):
    _, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(
        str(sd15_checkpoint), output_model=False
    )
    return clip, vae


@pytest.mark.slow
def test_latents_are_what_vae_encode_gives_times_the_scale(encoder, clip_and_vae):
    images = torch.from_numpy(moving_texture(3, speed_px=2, width=72, height=64)).float() / 255
    expected = clip_and_vae[1].encode(images).float() * SD15_SCALE
    torch.testing.assert_close(encoder.encode_images(images), expected)
    assert expected.shape == (3, 4, 8, 9)


@pytest.mark.slow
def test_latents_of_a_clip_do_not_depend_on_chance(encoder):
    images = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        encoder.encode_images(images), encoder.encode_images(images), rtol=0, atol=0
    )


@pytest.mark.slow
def test_caption_is_taken_literally(encoder, clip_and_vae):
    clip, _ = clip_and_vae

    def prompt(text):
        return clip.encode_from_tokens(clip.tokenize(text))[0].float()

    torch.testing.assert_close(encoder.encode_text("a cat waves"), prompt("a cat waves"))
    literal = encoder.encode_text("a cat (waving:1.4)")
    torch.testing.assert_close(literal, prompt(r"a cat \(waving:1.4\)"))
    assert not torch.allclose(literal, prompt("a cat (waving:1.4)"), atol=1e-3)
    assert encoder.encode_text("").shape == (77, 768)
    assert encoder.encode_text("word " * 100).shape == (154, 768)


@pytest.mark.slow
def test_command_prepares_a_folder_with_the_checkpoint(
    encoder, sd15_checkpoint, tmp_path, comfy_in_process
):
    videos = tmp_path / "videos"
    for name in ("a", "b"):
        write_video(videos / f"{name}.mp4", moving_texture(20, speed_px=1))
        (videos / f"{name}.txt").write_text(f"texture {name}")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    options = ["--source", videos, "--output", tmp_path / "set", "--checkpoint", sd15_checkpoint]
    options += ["--size", "64x64", "--frames", "3", "--workers", "1", "--comfyui", _comfyui()]
    result = command.run(parser.parse_args(list(map(str, options))))
    assert (result.num_clips, result.num_rejected) == (2, 0)
    description = json.loads((tmp_path / "set" / "dataset.json").read_text())
    digest = hashlib.sha256(sd15_checkpoint.read_bytes()).hexdigest()
    assert description["base_checkpoint"] == {"name": sd15_checkpoint.name, "sha256": digest}
    assert description["context_dim"] == 768
    with tarfile.open(tmp_path / "set" / "clips-000000.tar") as tar:
        assert len(tar.getnames()) == 10


def _comfyui():
    return comfy.__path__[0].removesuffix("/comfy")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prefix", "name"), [("first_stage_model.", "VAE"), ("cond_stage_model.", "text encoder")]
)
def test_checkpoint_without_a_part_is_refused(prefix, name, sd15_checkpoint, monkeypatch):
    load = comfy.utils.load_torch_file

    def load_without(path, **options):
        weights, metadata = load(path, **options)
        return {key: w for key, w in weights.items() if not key.startswith(prefix)}, metadata

    monkeypatch.setattr(comfy.utils, "load_torch_file", load_without)
    with pytest.raises(ValueError, match=f"--checkpoint: .* lacks the {name}"):
        load_checkpoint_encoder(sd15_checkpoint)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"in_channels": 9}, "an SD-1.5 model with 9 input channels"),
        ({"context_dim": 1024, "use_linear_in_transformer": True}, "a SD20 model"),
    ],
)
def test_checkpoint_of_another_model_is_refused(changes, reason):
    with torch.device("meta"):
        unet = UNetModel(
            **(UNET_CONFIG | changes),
            num_heads=8,
            operations=comfy.ops.disable_weight_init,
            device="meta",
        )
    weights = {f"model.diffusion_model.{key}": w for key, w in unet.state_dict().items()}
    with pytest.raises(ValueError, match=f"--checkpoint: other.ckpt is {reason}"):
        sd15_latent_format("other.ckpt", weights)


def test_file_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"--checkpoint: other.ckpt is no full checkpoint"):
        sd15_latent_format("other.ckpt", {"weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="--checkpoint: .* is not there"):
        load_checkpoint_encoder(tmp_path / "missing.ckpt")
