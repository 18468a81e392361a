import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from skimage import data
from torch.nn import functional as F
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from livephoto_core.models.content_encoder import (
    build_dinov2,
    dinov2_name,
    dinov2_pixels,
    encode_patch_tokens,
)

SIZES: dict[str, dict[str, Any]] = {
    "dinov2-small": {"hidden_size": 384, "num_attention_heads": 6},
    "dinov2-base": {"hidden_size": 768, "num_attention_heads": 12},
    "dinov2-large": {"hidden_size": 1024, "num_attention_heads": 16},
    "dinov2-giant": {"hidden_size": 1536, "num_attention_heads": 24, "use_swiglu_ffn": True},
}
DEPTHS = {"dinov2-small": 12, "dinov2-base": 12, "dinov2-large": 24, "dinov2-giant": 40}
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_attention_heads": 1,
    "image_size": 64,
    "patch_size": 4,
}
TINY_GATED: dict[str, Any] = {
    **TINY,
    "hidden_size": 128,
    "num_attention_heads": 2,
    "use_swiglu_ffn": True,
}
SMALL_VIT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def random_dinov2(num_layers: int = 2, **config) -> Dinov2Model:
    """transformers' own model, every weight random, layer scales large enough to matter."""
    torch.manual_seed(0)
    config = {"image_size": 518, "patch_size": 14, **config}
    model = Dinov2Model(Dinov2Config(num_hidden_layers=num_layers, **config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("lambda1") or "norm" in name:
                parameter.uniform_(0.3, 1)
            else:
                parameter.normal_(std=0.05)
    return model


def weight_file(model, folder) -> dict[str, torch.Tensor]:
    """The weights as transformers itself writes and names them on disk."""
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def meta_named(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A transformers file under the names of Meta's release."""
    renamed = {}
    for key, value in weights.items():
        key = key.replace("embeddings.patch_embeddings.projection", "patch_embed.proj")
        key = key.replace("embeddings.position_embeddings", "pos_embed").replace("embeddings.", "")
        key = key.replace("encoder.layer.", "blocks.").replace("layernorm.", "norm.")
        key = key.replace("attention.output.dense", "attn.proj")
        key = re.sub(r"layer_scale(\d)\.lambda1", r"ls\1.gamma", key)
        key = key.replace("weights_in", "w12").replace("weights_out", "w3")
        renamed[key] = value
    for key in [key for key in renamed if ".attention.attention.query." in key]:
        keys = [key.replace("query", name) for name in ("query", "key", "value")]
        joined = torch.cat([renamed.pop(name) for name in keys])
        renamed[key.replace("attention.attention.query", "attn.qkv")] = joined
    return renamed


def meta_forward(weights: dict[str, torch.Tensor], pixels: torch.Tensor, num_heads: int):
    """DINOv2 written from Meta's names alone, at the size of its own position embedding."""

    def linear(name, x):
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name, x):
        return F.layer_norm(
            x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6
        )

    def attention(name, x):
        b, n, d = x.shape
        qkv = linear(f"{name}.qkv", x).reshape(b, n, 3, num_heads, d // num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        probabilities = (q @ k.mT * (d // num_heads) ** -0.5).softmax(-1)
        return linear(f"{name}.proj", (probabilities @ v).transpose(1, 2).reshape(b, n, d))

    def feed_forward(name, x):
        if f"{name}.fc1.weight" in weights:
            return linear(f"{name}.fc2", F.gelu(linear(f"{name}.fc1", x)))
        gate, up = linear(f"{name}.w12", x).chunk(2, dim=-1)
        return linear(f"{name}.w3", F.silu(gate) * up)

    patches = weights["patch_embed.proj.weight"]
    x = F.conv2d(pixels, patches, weights["patch_embed.proj.bias"], stride=patches.shape[-1])
    cls = weights["cls_token"].expand(len(x), -1, -1)
    x = torch.cat([cls, x.flatten(2).mT], dim=1) + weights["pos_embed"]
    for i in range(sum(key.endswith("ls1.gamma") for key in weights)):
        block = f"blocks.{i}"
        attended = attention(f"{block}.attn", norm(f"{block}.norm1", x))
        x = x + weights[f"{block}.ls1.gamma"] * attended
        x = x + weights[f"{block}.ls2.gamma"] * feed_forward(
            f"{block}.mlp", norm(f"{block}.norm2", x)
        )
    return norm("norm", x)[:, 1:]


@pytest.fixture(scope="module")
def images():
    photo = torch.from_numpy(data.astronaut()[:300, 100:500] / 255).float()
    return torch.stack([photo, photo.flip(1)])


@torch.no_grad()
@pytest.mark.parametrize("name", SIZES)
def test_tokens_of_each_size_equal_transformers_own_model(name, images, tmp_path):
    theirs = random_dinov2(**SIZES[name])
    model, found = build_dinov2(weight_file(theirs, tmp_path))
    tokens = encode_patch_tokens(model, images)

    expected = theirs(pixel_values=dinov2_pixels(images, 224)).last_hidden_state[:, 1:]
    assert tokens.shape == (2, 256, SIZES[name]["hidden_size"])
    assert torch.equal(tokens, expected)
    assert found == f"dinov2-{SIZES[name]['hidden_size']}x2"


@pytest.mark.parametrize("name", SIZES)
def test_released_sizes_are_recognised_by_shape_alone(name):
    with torch.device("meta"):
        theirs = Dinov2Model(
            Dinov2Config(num_hidden_layers=DEPTHS[name], image_size=518, **SIZES[name])
        )
    model, found = build_dinov2(theirs.state_dict())

    assert found == name == dinov2_name(SIZES[name]["hidden_size"], DEPTHS[name])
    assert model.config.num_attention_heads == theirs.config.num_attention_heads
    assert model.config.image_size == 518


@torch.no_grad()
@pytest.mark.parametrize("config", [TINY, TINY_GATED], ids=["plain", "gated"])
def test_metas_names_give_metas_tokens(config, images, tmp_path):
    weights = meta_named(weight_file(random_dinov2(**config), tmp_path))
    assert "blocks.1.attn.qkv.weight" in weights
    model, _ = build_dinov2(weights)

    expected = meta_forward(weights, dinov2_pixels(images, 64), config["num_attention_heads"])
    torch.testing.assert_close(encode_patch_tokens(model, images), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("config", [TINY, TINY_GATED], ids=["plain", "gated"])
def test_names_of_the_installed_modules_are_read_too(config, images):
    theirs = random_dinov2(**config)
    model, _ = build_dinov2(theirs.state_dict())

    expected = theirs(pixel_values=dinov2_pixels(images, 64)).last_hidden_state[:, 1:]
    assert torch.equal(encode_patch_tokens(model, images), expected)


@torch.no_grad()
@pytest.mark.parametrize("split", [True, False], ids=["transformers 5", "transformers 4"])
def test_module_names_of_both_transformers_generations_are_read(split, images, tmp_path):
    theirs = random_dinov2(**TINY_GATED)
    weights = weight_file(theirs, tmp_path)
    if split:
        weights = split_names(weights)
    model, _ = build_dinov2(weights)

    expected = theirs(pixel_values=dinov2_pixels(images, 64)).last_hidden_state[:, 1:]
    assert torch.equal(encode_patch_tokens(model, images), expected)


def split_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for key, value in weights.items():
        key = re.sub(r"attention\.attention\.(.)\w+", r"attention.\1_proj", key)
        key = key.replace("attention.output.dense", "attention.o_proj")
        key = key.replace("weights_out", "down_proj")
        if "weights_in" in key:
            half = len(value) // 2
            renamed[key.replace("weights_in", "gate_proj")] = value[:half]
            renamed[key.replace("weights_in", "up_proj")] = value[half:]
        else:
            renamed[key] = value
    return renamed


def test_prefixed_file_of_a_classifier_is_read(tmp_path):
    classifier = Dinov2ForImageClassification(Dinov2Config(num_hidden_layers=1, **TINY))
    weights = weight_file(classifier, tmp_path)
    assert "classifier.weight" in weights
    model, _ = build_dinov2(weights)

    for key, value in classifier.dinov2.state_dict().items():
        if key != "embeddings.mask_token":
            assert torch.equal(model.state_dict()[key], value)


def test_model_is_frozen_and_takes_the_tensors_over(tmp_path):
    weights = weight_file(random_dinov2(**TINY_GATED), tmp_path)
    model, _ = build_dinov2(weights)

    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    given = {value.untyped_storage().data_ptr() for value in weights.values()}
    held = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    assert held <= given


@torch.no_grad()
def test_mixed_dtypes_take_that_of_the_patch_projection(images, tmp_path):
    theirs = random_dinov2(**TINY)
    weights = weight_file(theirs, tmp_path)
    for key in weights:
        if "norm" not in key:
            weights[key] = weights[key].half()
    model, _ = build_dinov2(weights)
    tokens = encode_patch_tokens(model, images)

    expected = theirs(pixel_values=dinov2_pixels(images, 64)).last_hidden_state[:, 1:]
    assert tokens.dtype == torch.float16
    assert (tokens - expected).norm() < 1e-2 * expected.norm()


@torch.no_grad()
@pytest.mark.parametrize(("patch_size", "image_size"), [(4, 64), (8, 64), (14, 28), (16, 512)])
def test_any_patch_and_image_size_gives_256_tokens(patch_size, image_size, images):
    theirs = random_dinov2(**{**TINY, "patch_size": patch_size, "image_size": image_size})
    model, name = build_dinov2(theirs.state_dict())

    assert encode_patch_tokens(model, images).shape == (2, 256, 32)
    assert (model.config.patch_size, model.config.image_size) == (patch_size, image_size)
    assert name == "dinov2-32x2"


@pytest.mark.parametrize(
    ("corner", "token"),
    [
        ((slice(0, 4), slice(0, 8)), 0),
        ((slice(0, 4), slice(-8, None)), 15),
        ((slice(-4, None), slice(0, 8)), 240),
        ((slice(-4, None), slice(-8, None)), 255),
    ],
)
def test_tokens_run_in_row_order_over_the_whole_image(corner, token):
    weights = random_dinov2(**TINY).state_dict()
    for key in weights:
        if "lambda1" in key:  # nothing mixes positions
            weights[key] = torch.zeros_like(weights[key])
    model, _ = build_dinov2(weights)
    images = torch.zeros(2, 64, 128, 3)
    images[1][corner] = 1
    black, white = encode_patch_tokens(model, images)

    assert (black - white).norm(dim=1).argmax().item() == token


@pytest.mark.parametrize("size_px", [224, 64, 448])
def test_pixels_equal_pillows_bicubic_resize_of_the_whole_image(size_px):
    photo = (data.astronaut()[:300, 100:500] / 255).astype(np.float32)
    # In floating point, so one channel at a time: Pillow's 8-bit resize rounds between passes.
    channels = [
        Image.fromarray(photo[..., channel]).resize((size_px, size_px), Image.Resampling.BICUBIC)
        for channel in range(3)
    ]
    resized = np.stack([np.asarray(channel) for channel in channels], axis=-1).clip(0, 1)
    expected = (resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]

    pixels = dinov2_pixels(torch.from_numpy(photo)[None], size_px)

    assert pixels.dtype == torch.float32
    np.testing.assert_allclose(pixels[0].permute(1, 2, 0), expected, rtol=0, atol=1e-4)


def prefixed(model) -> dict[str, torch.Tensor]:
    """The vision weights of CLIP or SigLIP under the names of their files."""
    weights = model.state_dict()
    return {f"vision_model.{key.removeprefix('vision_model.')}": weights[key] for key in weights}


def dinov2_with_registers() -> dict[str, torch.Tensor]:
    config = Dinov2WithRegistersConfig(num_hidden_layers=1, **TINY)
    return Dinov2WithRegistersModel(config).state_dict()


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: prefixed(CLIPVisionModel(CLIPVisionConfig(**SMALL_VIT))), "a CLIP vision encoder"),
        (lambda: {"visual.conv1.weight": torch.zeros(32, 3, 14, 14)}, "a CLIP vision encoder"),
        (
            lambda: prefixed(SiglipVisionModel(SiglipVisionConfig(**SMALL_VIT))),
            "a SigLIP vision encoder",
        ),
        (dinov2_with_registers, "a DINOv2 with registers"),
        (lambda: {"embeddings.register_tokens": torch.zeros(1, 4, 32)}, "a DINOv3"),
        (lambda: {"first_stage_model.a": torch.zeros(1)}, r"no image .*'first_stage_model.a'\)"),
        (dict, r"no image encoder known here \(first key: 'none'\)"),
    ],
)
def test_another_encoder_is_refused_by_name(make, found):
    with pytest.raises(ValueError, match=f"must be a DINOv2, got {found}.*facebook/dinov2-small"):
        build_dinov2(make())


def test_plain_vit_is_refused_for_its_missing_layers(tmp_path):
    weights = weight_file(ViTModel(ViTConfig(**SMALL_VIT), add_pooling_layer=False), tmp_path)

    with pytest.raises(ValueError, match="fc1.weight must be there.*got nothing"):
        build_dinov2(weights)


def remove_layer_0(weights):
    return {key: value for key, value in weights.items() if "layer.0.norm1" not in key}


def add_unknown(weights):
    return {**weights, "pooler.weight": torch.zeros(3)}


def widen_norm(weights):
    return {**weights, "layernorm.weight": torch.zeros(33)}


def drop_position(weights):
    key = "embeddings.position_embeddings"
    return {**weights, key: weights[key][:, :-1]}


def flatten_patches(weights):
    key = "embeddings.patch_embeddings.projection.weight"
    return {**weights, key: weights[key].flatten(1)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            remove_layer_0,
            r"2 weights do not fit.*layer.0.norm1.bias: expected \(32,\), got nothing",
        ),
        (add_unknown, r"1 weights do not fit.*pooler.weight: expected nothing, got \(3,\)"),
        (widen_norm, r"1 weights do not fit.*layernorm.weight: expected \(32,\), got \(33,\)"),
        (drop_position, "positions a square, got width 32 and 255 positions"),
        (flatten_patches, r"projection.weight must be there with 4 axes, got shape \(32, 48\)"),
    ],
)
def test_damaged_weights_are_refused(damage, message):
    with pytest.raises(ValueError, match=message):
        build_dinov2(damage(random_dinov2(**TINY).state_dict()))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(64, 64, 3), r"images must be \(b h w 3\), got \(64, 64, 3\)"),
        (torch.zeros(1, 3, 64, 64), r"images must be \(b h w 3\)"),
        (torch.full((1, 64, 64, 3), torch.nan), "got NaN"),
    ],
)
def test_unusable_images_are_refused(images, message):
    model, _ = build_dinov2(random_dinov2(**TINY).state_dict())

    with pytest.raises(ValueError, match=message):
        encode_patch_tokens(model, images)


def test_importing_the_module_does_not_import_the_slow_libraries():
    code = (
        "import sys, livephoto_core.models.content_encoder, livephoto_core.motion_intensity\n"
        "print(sorted({'transformers', 'kornia', 'diffusers'} & sys.modules.keys()))"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )

    assert result.stdout == "[]\n"
