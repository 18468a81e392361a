"""Ablation switches, freezing, and starting from given weights."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest
import torch

from livephoto_core.checkpoints import Checkpoint, animatediff, read_checkpoint, write_checkpoint
from livephoto_core.models.config import (
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    UNetLayout,
)
from livephoto_core.models.livephoto import LivePhoto
from livephoto_core.training.parts import (
    PartsOptions,
    build_parts,
    checkpoint_config,
    freeze,
    trainable,
)
from tests.checkpoints.weight_files import random_weights
from tests.training.tiny_training import CONTEXT_DIM, EDGES, FRAMES, LAYOUT, facts

ENCODER = ("dinov2-32x1", 32)
# The depth of SD-1.5, so that its public formats can be read.
SD15_SHAPED = UNetLayout(block_channels=(32, 32, 64, 64), context_dim=CONTEXT_DIM)


def described(options=PartsOptions(), *, layout=LAYOUT, initial=None, **changes):  # noqa: B008
    encoder = ENCODER if options.content_encoder else None
    return checkpoint_config(
        options,
        layout=layout,
        facts=dataclasses.replace(facts(), **changes),
        encoder=encoder,
        initial=initial,
    )


def test_all_switches_on_is_the_papers_model():
    config = described()
    assert config.motion == MotionConfig(position_length=32)
    assert config.input_conditioning == InputConditioningConfig(("reference", "intensity", "frame"))
    assert config.content is not None and config.content.token_dim == CONTEXT_DIM
    assert config.content.encoder == "dinov2-32x1" and config.content.encoder_dim == 32
    assert config.text_reweighting is not None
    assert config.text_reweighting.num_frames == config.num_frames == FRAMES
    assert (config.ssim_edges, config.training_size_px) == (EDGES, (64, 64))
    assert (config.noise_schedule, config.cross_frame_group_norm) == ("scaled_linear", False)


@pytest.mark.parametrize(
    ("switch", "absent"),
    [
        ("reference_latent", {"channels": ("intensity", "frame")}),
        ("intensity", {"channels": ("reference", "frame")}),
        ("content_encoder", {"content": None}),
        ("text_reweighting", {"text_reweighting": None}),
    ],
)
def test_switch_takes_its_part_out_and_no_other(switch, absent):
    config, full = described(PartsOptions(**{switch: False})), described()
    if channels := absent.pop("channels", None):
        absent["input_conditioning"] = InputConditioningConfig(channels)
    assert config == dataclasses.replace(full, **absent)
    names = {name.split(".")[0] for name in LivePhoto(config, device="meta").state_dict()}
    assert ("content" in names) == (switch != "content_encoder")
    assert ("text_reweighting" in names) == (switch != "text_reweighting")


def test_text_adapters_are_added_on_demand():
    config = described(PartsOptions(text_adapters=True))
    assert config == dataclasses.replace(described(), text_adapters=True)
    parts = build_parts(config, seed=0)
    freeze(parts, ("adapters",))
    assert not [name for name in trainable(parts) if name.startswith("text_adapters")]


def test_long_clips_get_as_many_positions():
    assert described(num_frames=48).motion == MotionConfig(position_length=48)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PartsOptions(frozen=("sound",)), "'sound'"),  # type: ignore[arg-type]
        (PartsOptions(frozen=("text",), text_reweighting=False), "'text' is switched off"),
        (PartsOptions(frozen=("adapters",)), "'adapters' is switched off"),
        (PartsOptions(frozen=("motion", "input", "content", "text")), "nothing is left"),
    ],
)
def test_impossible_freezing_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=f"parts.frozen.*{message}"):
        options.check()


def test_frozen_parts_do_not_train():
    parts = build_parts(described(), seed=0)
    freeze(parts, ("motion", "text"))
    assert {name.split(".")[0] for name in trainable(parts)} == {"input_conditioning", "content"}
    freeze(parts, ())
    assert len(trainable(parts)) == len(list(parts.parameters()))


def test_new_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_parts(described(), seed=0).state_dict()
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn), "the global generator was used"
    second, other = (build_parts(described(), seed=seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def write_animatediff(path: Path, *, length: int, pia: bool = False) -> dict[str, torch.Tensor]:
    """A public-format file without a middle block; returns what it holds under our names."""
    motion = MotionConfig(position_length=length, has_middle=False)
    config = LivePhotoConfig(layout=SD15_SHAPED, motion=motion)
    weights = random_weights(config)
    stored = {name.removeprefix("motion."): tensor for name, tensor in weights.items()}
    if pia:
        stored["conv_in.weight"] = torch.randn(32, 9, 3, 3)
        stored["conv_in.bias"] = torch.zeros(32)
    torch.save({"state_dict": stored}, path)
    return {**weights, "conv_in.weight": stored.get("conv_in.weight", torch.empty(0))}


@pytest.fixture
def small_public_files(monkeypatch):
    """Public formats mean SD-1.5; here they are read at the width of a test."""
    monkeypatch.setattr(animatediff, "SD15", SD15_SHAPED)


@pytest.mark.usefixtures("small_public_files")
def test_start_from_animatediff_takes_its_motion_and_makes_the_rest(tmp_path, caplog):
    given = write_animatediff(tmp_path / "mm_v1.ckpt", length=24)
    initial = read_checkpoint(tmp_path / "mm_v1.ckpt")
    config = described(layout=SD15_SHAPED, initial=initial.config)
    assert config.motion == MotionConfig(kind="LivePhoto", position_length=24)
    assert config.noise_schedule == "linear" and config.cross_frame_group_norm
    with caplog.at_level(logging.INFO):
        parts = build_parts(config, seed=0, initial=initial).state_dict()
    new = build_parts(config, seed=0).state_dict()
    for name, tensor in parts.items():
        assert torch.equal(tensor, given.get(name, new[name])), name
    taken = len(given) - 1
    motion = sum(name.startswith("motion.") for name in parts)
    assert motion > taken
    assert (
        f"motion: {taken} of {motion} weights from files.init_from, the others new (such as "
        in (caplog.text)
    )
    assert "motion.mid_block" in caplog.text
    assert "content: 0 of" in caplog.text


@pytest.mark.usefixtures("small_public_files")
def test_start_from_pia_takes_the_filters_of_its_reference_latent(tmp_path):
    given = write_animatediff(tmp_path / "pia.ckpt", length=32, pia=True)["conv_in.weight"]
    initial = read_checkpoint(tmp_path / "pia.ckpt")
    config = described(layout=SD15_SHAPED, initial=initial.config)
    weight = build_parts(config, seed=0, initial=initial).state_dict()[
        "input_conditioning.conv.weight"
    ]
    # PIA: noise 0–3, affinity 4, reference 5–8. Ours: reference 0–3, intensity 4, frame 5.
    assert torch.equal(weight[:, :4], given[:, 5:])
    assert (weight[:, 4:] == 0).all()


def test_start_from_an_earlier_run_takes_all_its_weights(tmp_path):
    config = described()
    weights = build_parts(config, seed=7).state_dict()
    write_checkpoint(tmp_path / "run.safetensors", config, weights)
    initial = read_checkpoint(tmp_path / "run.safetensors")
    parts = build_parts(described(initial=initial.config), seed=0, initial=initial).state_dict()
    assert all(torch.equal(parts[name], weights[name]) for name in weights)


def test_start_from_an_ablation_maps_input_channels_by_name():
    without = described(PartsOptions(intensity=False))
    weights = random_weights(without)
    config = described(initial=without)
    parts = build_parts(config, seed=0, initial=Checkpoint(without, weights, {})).state_dict()
    given, own = (w["input_conditioning.conv.weight"] for w in (weights, parts))
    assert torch.equal(own[:, :4], given[:, :4])
    assert torch.equal(own[:, 5], given[:, 4]) and (own[:, 4] == 0).all()


def test_start_from_a_unet_with_less_attention_makes_the_content_attention_that_it_lacks():
    coarse, both = (
        dataclasses.replace(LAYOUT, attention_levels=levels) for levels in ((1,), (0, 1))
    )
    initial = described(layout=coarse)
    given = random_weights(initial)
    config = described(layout=both, initial=initial)
    parts = build_parts(config, seed=0, initial=Checkpoint(initial, given, {})).state_dict()
    new = build_parts(config, seed=0).state_dict()
    assert all(torch.equal(tensor, given.get(name, new[name])) for name, tensor in parts.items())
    assert given.keys() < parts.keys()
    assert all(name.startswith("content.") for name in parts.keys() - given.keys())


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        (LivePhotoConfig(layout=SD15_SHAPED, motion=MotionConfig()), "UNet of .32, 32, 64, 64."),
        (described(num_frames=5), "text_reweighting.to_frames.weight is .5, 32."),
    ],
)
def test_weights_of_other_shapes_are_refused_by_name(initial, message):
    checkpoint = Checkpoint(initial, random_weights(initial), {})
    with pytest.raises(ValueError, match=f"files.init_from.*{message}"):
        build_parts(described(), seed=0, initial=checkpoint)


def test_file_without_any_part_in_use_is_refused():
    text_only = dataclasses.replace(described(), motion=None, input_conditioning=None, content=None)
    checkpoint = Checkpoint(text_only, random_weights(text_only), {})
    config = described(PartsOptions(text_reweighting=False))
    with pytest.raises(ValueError, match="no weight of the parts"):
        build_parts(config, seed=0, initial=checkpoint)


def test_frozen_part_that_the_file_does_not_have_is_refused():
    motion_only = LivePhotoConfig(layout=described().layout, motion=MotionConfig())
    checkpoint = Checkpoint(motion_only, random_weights(motion_only), {})
    build_parts(described(), seed=0, initial=checkpoint, frozen=("motion",))
    with pytest.raises(ValueError, match=r"parts.frozen: files.init_from has no weights of text,"):
        build_parts(described(), seed=0, initial=checkpoint, frozen=("motion", "text"))


def test_clips_longer_than_the_initial_motion_modules_are_refused():
    initial = dataclasses.replace(described(), motion=MotionConfig(position_length=24))
    with pytest.raises(ValueError, match=r"place 24 frames, the clips of files.data have 25"):
        described(initial=initial, num_frames=25)
