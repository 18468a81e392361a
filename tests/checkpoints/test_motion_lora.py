"""Motion LoRAs: merged weights act as the low-rank branches do; what does not fit is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from livephoto_core.checkpoints import CheckpointError, merge_motion_lora, read_motion_lora
from livephoto_core.models.config import LivePhotoConfig, MotionConfig
from livephoto_core.models.motion import MotionModules
from tests.checkpoints.weight_files import TINY, TINY_LAYOUT, random_weights

RANK = 4
PROJECTIONS = ("to_q", "to_k", "to_v", "to_out")
NAMINGS = {
    "AnimateDiff": (
        "{place}.temporal_transformer.transformer_blocks.0.attention_blocks.{index}.processor."
        "{projection}_lora.{side}.weight"
    ),
    "diffusers": (
        "unet.{place}.transformer_blocks.0.attn{number}.processor.{projection}_lora.{side}.weight"
    ),
    "diffusers' new": (
        "unet.{place}.transformer_blocks.0.attn{number}.{projection}.lora.{side}.weight"
    ),
    "PEFT": ("unet.{place}.transformer_blocks.0.attn{number}.{projection}.lora_{letter}.weight"),
}
PLACES = {
    "down_blocks.0.motion_modules.0": 32,
    "up_blocks.1.motion_modules.1": 32,
    "mid_block.motion_modules.0": 64,
}
NO_MIDDLE = dataclasses.replace(
    TINY, motion=MotionConfig(position_length=8, num_heads=2, has_middle=False)
)


def lora_weights(naming: str = "AnimateDiff", places: dict | None = None) -> dict:
    generator = torch.Generator().manual_seed(1)
    weights = {}
    for place, channels in (places or PLACES).items():
        for index in (0, 1):
            for projection in PROJECTIONS:
                for side, shape in (("down", (RANK, channels)), ("up", (channels, RANK))):
                    name = NAMINGS[naming].format(
                        place=place,
                        index=index,
                        number=index + 1,
                        projection=projection,
                        side=side,
                        letter={"down": "A", "up": "B"}[side],
                    )
                    weights[name] = torch.randn(shape, generator=generator)
    return weights


def saved(path: Path, weights: dict) -> Path:
    save_file(weights, path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pan.safetensors"


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_motion_lora(path)
    assert str(error.value).startswith("pan.safetensors ")
    return str(error.value)


@pytest.mark.parametrize("strength", [1.0, 0.3, -2.0])
def test_merged_attention_acts_as_low_rank_branches_do(path: Path, strength: float) -> None:
    weights = lora_weights()
    config = LivePhotoConfig(layout=TINY_LAYOUT, motion=TINY.motion)
    base = random_weights(config)
    merged = merge_motion_lora(base, read_motion_lora(saved(path, weights)), strength)
    x = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(2))
    prefix = "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0."
    attention = "attention_blocks.1."
    for projection, stored in zip(PROJECTIONS, (*PROJECTIONS[:3], "to_out.0"), strict=True):
        name = f"motion.{prefix}{attention}{stored}.weight"
        lora = f"{prefix}{attention}processor.{projection}_lora."
        branch = F.linear(F.linear(x, weights[f"{lora}down.weight"]), weights[f"{lora}up.weight"])
        expected = F.linear(x, base[name]) + strength * branch
        torch.testing.assert_close(F.linear(x, merged[name]), expected, atol=1e-4, rtol=1e-4)


def test_merged_weights_load_into_the_motion_modules(path: Path) -> None:
    merged = merge_motion_lora(
        random_weights(TINY), read_motion_lora(saved(path, lora_weights())), 1.0
    )
    assert TINY.motion is not None
    motion = {n.removeprefix("motion."): t for n, t in merged.items() if n.startswith("motion.")}
    MotionModules(TINY.motion, TINY_LAYOUT).load_state_dict(motion, strict=True)


@pytest.mark.parametrize("naming", NAMINGS)
def test_all_namings_give_the_same_changes(tmp_path: Path, path: Path, naming: str) -> None:
    original = read_motion_lora(saved(path, lora_weights())).factors
    other = read_motion_lora(saved(tmp_path / "other.safetensors", lora_weights(naming))).factors
    assert other.keys() == original.keys()
    for name, factors in other.items():
        assert all(torch.equal(a, b) for a, b in zip(factors, original[name], strict=True))


def test_only_named_weights_change_and_the_input_stays(path: Path) -> None:
    base = random_weights(TINY)
    kept = {name: tensor.clone() for name, tensor in base.items()}
    lora = read_motion_lora(saved(path, lora_weights()))
    merged = merge_motion_lora(base, lora, 1.0)
    assert all(torch.equal(base[name], tensor) for name, tensor in kept.items())
    changed = {name for name in base if not torch.equal(merged[name], base[name])}
    assert changed == set(lora.factors)
    assert len(changed) == len(PLACES) * 2 * len(PROJECTIONS)
    assert all(merged[name] is base[name] for name in base.keys() - changed)


def test_strength_zero_changes_nothing(path: Path) -> None:
    base = random_weights(TINY, torch.float16)
    merged = merge_motion_lora(base, read_motion_lora(saved(path, lora_weights())), 0.0)
    assert all(torch.equal(merged[name], tensor) for name, tensor in base.items())


def test_half_precision_weights_are_merged_in_full_precision(path: Path) -> None:
    base = random_weights(TINY, torch.float16)
    weights = {name: tensor.half() for name, tensor in lora_weights().items()}
    lora = read_motion_lora(saved(path, weights))
    merged = merge_motion_lora(base, lora, 0.7)
    for name, (up, down) in lora.factors.items():
        exact = base[name].double() + 0.7 * up.double() @ down.double()
        assert merged[name].dtype == torch.float16
        torch.testing.assert_close(merged[name].double(), exact, atol=0, rtol=2**-10)


def test_middle_block_is_left_out_where_the_model_has_none(path: Path) -> None:
    base = random_weights(NO_MIDDLE)
    merged = merge_motion_lora(base, read_motion_lora(saved(path, lora_weights())), 1.0)
    assert merged.keys() == base.keys()
    changed = [name for name in base if not torch.equal(merged[name], base[name])]
    assert len(changed) == (len(PLACES) - 1) * 2 * len(PROJECTIONS)


def test_module_that_the_model_lacks_is_refused(path: Path) -> None:
    places = {"down_blocks.3.motion_modules.0": 32}
    lora = read_motion_lora(saved(path, lora_weights(places=places)))
    with pytest.raises(
        CheckpointError, match=r"^pan\.safetensors changes motion\.down_blocks\.3.*does not have"
    ):
        merge_motion_lora(random_weights(TINY), lora, 1.0)


def test_model_without_motion_is_refused(path: Path) -> None:
    config = dataclasses.replace(TINY, motion=None)
    lora = read_motion_lora(saved(path, lora_weights()))
    with pytest.raises(CheckpointError, match="or a model with motion modules"):
        merge_motion_lora(random_weights(config), lora, 1.0)


def test_other_widths_are_refused(path: Path) -> None:
    places = {"down_blocks.0.motion_modules.0": 64}
    lora = read_motion_lora(saved(path, lora_weights(places=places)))
    with pytest.raises(CheckpointError, match="as if it were 64 × 64, but it is 32 × 32"):
        merge_motion_lora(random_weights(TINY), lora, 1.0)


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_strength_that_is_no_number_is_refused(path: Path, strength: float) -> None:
    lora = read_motion_lora(saved(path, lora_weights()))
    with pytest.raises(ValueError, match="strength must be a finite number"):
        merge_motion_lora(random_weights(TINY), lora, strength)


def test_half_a_change_is_refused(path: Path) -> None:
    weights = lora_weights()
    del weights[next(name for name in weights if ".up." in name)]
    assert "lacks one half of the change of motion." in refused(saved(path, weights))


@pytest.mark.parametrize(
    "name",
    [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight",
        "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0"
        ".processor.to_q_lora.alpha",
        "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.lora.down.weight",
    ],
)
def test_anything_but_temporal_attention_is_refused(path: Path, name: str) -> None:
    weights = {**lora_weights(), name: torch.ones(4, 32)}
    assert "which is no temporal attention" in refused(saved(path, weights))


def test_factors_that_cannot_be_multiplied_are_refused(path: Path) -> None:
    weights = lora_weights()
    name = next(name for name in weights if ".up." in name)
    weights[name] = torch.ones(32, RANK + 1)
    assert "factors that cannot be multiplied, (32, 5) and (4, 32)" in refused(saved(path, weights))


def test_integer_factors_are_refused(path: Path) -> None:
    weights = {name: tensor.int() for name, tensor in lora_weights().items()}
    assert "as I32: choose a file in fp32" in refused(saved(path, weights))


def test_broken_factors_are_named(path: Path) -> None:
    weights = lora_weights()
    name = next(iter(weights))
    weights[name][0, 0] = torch.nan
    assert f"broken weights: {name} contains NaN" in refused(saved(path, weights))
