"""The tiny base model in ComfyUI: what was trained is what ordinary nodes run."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path

import comfy.lora
import comfy.memory_management
import comfy.model_management
import comfy.ops
import comfy.sd
import latent_preview
import pytest
import torch
from comfy.cli_args import LatentPreviewMethod

import nodes as comfy_nodes
from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.checkpoints.errors import CheckpointError
from livephoto_core.checkpoints.safetensors_writer import write_safetensors
from livephoto_core.comfyui.apply import apply_livephoto
from livephoto_core.comfyui.compatibility import unet_layout
from livephoto_core.comfyui.demo_model import expected_shapes, load_demo_model
from livephoto_core.comfyui.demo_modules import (
    build_autoencoder,
    build_content_encoder,
    build_unet,
    initialise_weights,
    predict_noise,
    unet_config,
)
from livephoto_core.comfyui.demo_text import TextEncoder, clip_tokens, embedding_rows
from livephoto_core.comfyui.livephoto_model import load_livephoto
from livephoto_core.comfyui.reference import encode_reference
from livephoto_core.models.config import (
    ContentConfig,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    TextReweightingConfig,
)
from livephoto_core.models.content_encoder import build_dinov2, encode_patch_tokens
from livephoto_core.shapes.base_model import (
    BaseConfig,
    open_base_model,
    write_base_model,
)
from livephoto_core.shapes.shipped import LIVEPHOTO_PATH
from tests.comfyui.sampling import sample
from tests.comfyui.tiny_models import tiny_livephoto
from tests.models.random_weights import randomise
from tests.shapes.base_models import TINY_BASE

LATENT_RGB = ((0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5), (0, 0, 0), (0.1, -0.1, 0.2))
CONFIG = dataclasses.replace(TINY_BASE, size_px=64, latent_rgb=LATENT_RGB)
LONG_NAMES = {"q": "query", "k": "key", "v": "value"}
SENTENCE = "a red circle moving left, the camera zooms in"


def make_modules(config):
    """The training modules, with weights as a file would round them."""
    modules = {
        "unet": build_unet(config),
        "autoencoder": build_autoencoder(config),
        "text_encoder": TextEncoder(config),
        "content_encoder": build_content_encoder(config),
    }
    for seed, (name, module) in enumerate(modules.items()):
        if name != "content_encoder":
            initialise_weights(module, seed)
    randomise(modules["unet"], seed=9)
    return {name: module.half().float().eval() for name, module in modules.items()}


@pytest.fixture(scope="module")
def modules():
    return make_modules(CONFIG)


@pytest.fixture(scope="module")
def path(modules, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "shapes-base.safetensors"
    parts = {name: module.state_dict() for name, module in modules.items()}
    write_base_model(path, CONFIG, parts, {"training": "{}"})
    return path


@pytest.fixture(scope="module")
def demo(path):
    return load_demo_model(path)


def encode_text(clip, sentence):
    return comfy_nodes.CLIPTextEncode().encode(clip, sentence)[0]


def livephoto_for(config: BaseConfig):
    parts = LivePhotoConfig(
        layout=config.unet,
        motion=MotionConfig(num_heads=4),
        input_conditioning=InputConditioningConfig(),
        content=ContentConfig(
            encoder="dinov2-64x1", encoder_dim=config.content_encoder.width, token_dim=32
        ),
        text_reweighting=TextReweightingConfig(num_heads=4),
    )
    return tiny_livephoto(parts)


# What ComfyUI does on most GPUs


def test_files_load_under_dynamic_vram_where_layers_have_no_weights_before(monkeypatch, path, demo):
    monkeypatch.setattr(comfy.memory_management, "aimdo_enabled", True)
    monkeypatch.setattr(comfy.model_management, "WINDOWS", True)  # 0.18.0 does it there only
    lazy = comfy.ops.disable_weight_init.Linear(2, 2)
    assert lazy.weight is None
    model, clip, vae, encoder = load_demo_model(path)
    for loaded, before in ((model, demo[0]), (encoder.patcher, demo[3].patcher)):
        expected = before.model.state_dict()
        assert expected.keys() == loaded.model.state_dict().keys()
        for name, weight in loaded.model.state_dict().items():
            assert torch.equal(weight, expected[name])
    assert torch.equal(encode_text(clip, SENTENCE)[0][0], encode_text(demo[1], SENTENCE)[0][0])
    assert torch.equal(vae.decode(torch.ones(1, 4, 8, 8)), demo[2].decode(torch.ones(1, 4, 8, 8)))
    parts = load_livephoto(LIVEPHOTO_PATH).parts.state_dict()
    assert parts.keys() == read_checkpoint(LIVEPHOTO_PATH).state_dict.keys()


# The same mathematics in training and in ComfyUI


@torch.inference_mode()
def test_text_of_clip_text_encode_is_that_of_training(demo, modules):
    rows = embedding_rows(torch.tensor([clip_tokens(SENTENCE)]), CONFIG)
    expected = modules["text_encoder"](rows)
    ((tokens, _),) = encode_text(demo[1], SENTENCE)
    assert tokens.shape == (1, 77, 32)
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_vae_is_the_autoencoder_of_training(demo, modules):
    images = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    pixels = images.movedim(-1, 1) * 2 - 1
    latents = demo[2].encode(images)
    expected = modules["autoencoder"].encode(pixels)
    torch.testing.assert_close(latents, expected, atol=1e-4, rtol=1e-4)
    restored = (modules["autoencoder"].decode(expected) + 1) / 2
    torch.testing.assert_close(
        demo[2].decode(latents), restored.clamp(0, 1).movedim(1, -1), atol=1e-4, rtol=1e-4
    )


def test_step_of_a_sampler_is_the_forward_of_training(demo, modules):
    model, clip, _, _ = demo
    applied, seen = model.clone(), []

    def record(executor, x, timesteps, context, *args, **kwargs):
        out = executor(x, timesteps, context, *args, **kwargs)
        seen.append((x.clone(), timesteps.clone(), context.clone(), out.clone()))
        return out

    applied.add_wrapper_with_key("diffusion_model", "test", record)
    text = {"positive": encode_text(clip, SENTENCE), "negative": encode_text(clip, "")}
    sample(applied, frames=2, steps=2, **text)
    for x, timesteps, context, out in seen:
        with torch.inference_mode():
            expected = predict_noise(modules["unet"], x, timesteps, context)
        torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)
    assert len(seen) == 2 and seen[0][1][0] > 900


def test_noise_levels_are_those_of_training(demo):
    from livephoto_core.diffusion.schedules import schedule_sigmas
    from livephoto_core.shapes.base_model import NOISE_SCHEDULE

    sigmas = demo[0].model.model_sampling.sigmas
    torch.testing.assert_close(sigmas, schedule_sigmas(NOISE_SCHEDULE).float(), rtol=1e-4, atol=0)
    latent = torch.ones(1, 4, 8, 8)
    assert torch.equal(demo[0].model.process_latent_in(latent), latent * 0.18215)


def test_content_encoder_gives_the_tokens_of_training(demo, modules):
    images = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    encoder = demo[3]
    dinov2, name = build_dinov2(modules["content_encoder"].state_dict())
    assert (encoder.name, encoder.dim) == (name, 64)
    expected = encode_patch_tokens(dinov2, images)
    torch.testing.assert_close(encoder.encode(images), expected, atol=1e-5, rtol=1e-5)


def test_autograd_reaches_every_weight_of_unet_and_text_encoder():
    fresh = make_modules(CONFIG)
    unet, text_encoder = (fresh[name].requires_grad_(True) for name in ("unet", "text_encoder"))
    rows = embedding_rows(torch.tensor([clip_tokens(SENTENCE), clip_tokens("dinosaur")]), CONFIG)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    out = predict_noise(unet, latents, torch.tensor([10, 900]), text_encoder(rows))
    out.square().sum().backward()
    for module in (unet, text_encoder):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


# Ordinary nodes


def test_livephoto_animates_with_the_demo_model(demo):
    model, clip, vae, encoder = demo
    livephoto = livephoto_for(CONFIG)
    image = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    reference = encode_reference(livephoto, vae, image, encoder)
    text = {"positive": encode_text(clip, SENTENCE), "negative": encode_text(clip, "")}
    before = sample(model, frames=3, **text)
    video = sample(apply_livephoto(model, livephoto, reference, 5), frames=3, **text)
    assert torch.isfinite(video).all()
    assert (video - before).abs().max() > 1e-2
    assert torch.equal(sample(model, frames=3, **text), before)


def test_unknown_words_are_all_alike_and_known_ones_are_not(demo):
    said = {s: encode_text(demo[1], s)[0][0] for s in ("red dinosaur", "red castle", "red circle")}
    assert torch.equal(said["red dinosaur"], said["red castle"])
    assert not torch.allclose(said["red dinosaur"], said["red circle"])


def test_weights_of_words_and_long_prompts_work(demo):
    plain, weighted = (encode_text(demo[1], s)[0][0] for s in ("red circle", "(red:1.5) circle"))
    assert not torch.allclose(plain, weighted)
    assert encode_text(demo[1], "red circle " * 60)[0][0].shape == (1, 154, 32)


def test_lora_of_the_right_size_acts_and_of_sd15_size_is_left_out(demo, caplog):
    model, clip, _, _ = demo
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    text = {"positive": encode_text(clip, SENTENCE), "negative": encode_text(clip, "")}
    before = sample(model, frames=2, **text)
    outs = {}
    for width in (32, 320):
        lora = {
            f"{name}.lora_down.weight": torch.ones(4, width),
            f"{name}.lora_up.weight": torch.linspace(-1, 1, width * 4).view(width, 4),
            f"{name}.alpha": torch.tensor(4.0),
        }
        patched, _ = comfy.sd.load_lora_for_models(model, clip, lora, 1.0, 1.0)
        outs[width] = sample(patched, frames=2, **text)
    assert not torch.equal(outs[32], before)
    assert torch.equal(outs[320], before) and "shape" in caplog.text
    assert torch.equal(sample(model, frames=2, **text), before)


def test_preview_shows_the_colours_of_this_autoencoder(demo, monkeypatch):
    monkeypatch.setattr(latent_preview.args, "preview_method", LatentPreviewMethod.Auto)
    model_format = demo[0].model.latent_format
    previewer = latent_preview.get_previewer(torch.device("cpu"), model_format)
    latents = torch.zeros(1, 4, 8, 8)
    latents[0, 0] = 1.0
    colour = previewer.decode_latent_to_preview(latents).getpixel((3, 3))
    expected = [(value + 1) / 2 * 255 for value in (0.6, -0.1, 0.2)]
    assert all(abs(a - b) <= 1 for a, b in zip(colour, expected, strict=True))


# The file


def test_default_layout_is_read_back_from_comfyuis_description():
    for config in (BaseConfig(), CONFIG):
        assert unet_layout(unet_config(config.unet)) == config.unet


def test_default_model_leaves_room_for_livephoto_in_40_mb():
    config = BaseConfig()
    counts = [torch.Size(shape).numel() for shape in expected_shapes(config).values()]
    assert 8e6 < sum(counts) < 14e6


def test_file_gives_back_config_weights_and_metadata(path, modules):
    file = open_base_model(path)
    assert file.config == CONFIG and file.metadata == {"training": "{}"}
    for part, module in modules.items():
        weights = file.part(part)
        assert weights.keys() == module.state_dict().keys()
        assert all(torch.equal(weights[k].float(), v) for k, v in module.state_dict().items())


def rewritten(path, target, change):
    file = open_base_model(path).file
    weights = {name: file.load(name).clone() for name in file.tensors}
    change(weights)
    write_safetensors(target, weights, file.metadata)
    return target


def test_missing_misshapen_and_broken_weights_are_refused(path, tmp_path):
    name = "unet.out.2.weight"
    changes = {
        "lacks": lambda weights: weights.pop(name),
        "another size": lambda weights: weights.update({name: torch.zeros(4, dtype=torch.half)}),
        "NaN": lambda weights: weights[name].fill_(float("nan")),
    }
    for message, change in changes.items():
        broken = rewritten(path, tmp_path / "x.safetensors", change)
        with pytest.raises(CheckpointError, match=message):
            load_demo_model(broken)


def test_patch_token_encoder_is_known_by_the_names_of_every_transformers(path, modules, tmp_path):
    def rename(weights):
        for key in [key for key in weights if "attention." in key and "content_encoder." in key]:
            # As transformers' modules were called before they were split.
            old = re.sub(r"\.(q|k|v)_proj", lambda m: f".attention.{LONG_NAMES[m[1]]}", key)
            weights[old.replace("o_proj", "output.dense")] = weights.pop(key)

    old = rewritten(path, tmp_path / "old.safetensors", rename)
    names = open_base_model(old).file.tensors
    assert "content_encoder.encoder.layer.0.attention.attention.query.weight" in names
    for file in (path, old):
        *_, content_encoder = load_demo_model(file)
        picture = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
        expected = encode_patch_tokens(modules["content_encoder"], picture)
        torch.testing.assert_close(content_encoder.encode(picture), expected, atol=2e-3, rtol=2e-3)


# The node


@pytest.fixture(scope="module")
def node():
    """`nodes/demo.py`, loaded as ComfyUI loads a pack: under a name of the user's choice."""
    root = Path(__file__).parents[2]
    name = "livephoto_pack_under_test"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, root / "__init__.py", submodule_search_locations=[str(root)]
        )
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return importlib.import_module(f"{name}.nodes.demo")


def test_node_gives_what_other_nodes_take(node, path, monkeypatch):
    monkeypatch.setattr(node, "BASE_MODEL_PATH", path)
    schema = node.LivePhotoDemoModel.define_schema()
    assert schema.node_id == "LivePhotoDemoModel"
    types = [output.io_type for output in schema.outputs]
    assert types == ["MODEL", "CLIP", "VAE", "LIVEPHOTO_CONTENT_ENCODER", "IMAGE"]
    monkeypatch.setattr(node.ui, "PreviewImage", lambda *_, **__: None)  # needs a running server
    model, clip, vae, encoder, image = node.LivePhotoDemoModel.execute().args
    assert image.shape == (1, 64, 64, 3)
    assert vae.encode(torch.zeros(1, 64, 64, 3)).shape == (1, 4, 8, 8)
    assert encoder.dim == 64 and encode_text(clip, "")[0][0].shape == (1, 77, 32)
    assert unet_layout(model.model.model_config.unet_config) == CONFIG.unet


def test_node_says_what_to_do_when_the_weights_are_gone(node, tmp_path, monkeypatch):
    monkeypatch.setattr(node, "BASE_MODEL_PATH", tmp_path / "gone.safetensors")
    with pytest.raises(ValueError, match="install the pack again"):
        node.LivePhotoDemoModel.execute()
