"""The base model's description and file, whatever the weights are."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from livephoto_core.checkpoints.errors import CheckpointError
from livephoto_core.checkpoints.safetensors_writer import write_safetensors
from livephoto_core.models.config import UNetLayout
from livephoto_core.shapes.base_model import (
    PARTS,
    AutoencoderConfig,
    BaseConfig,
    ContentEncoderConfig,
    TextEncoderConfig,
    decode_base_config,
    open_base_model,
    write_base_model,
)

CONFIG = BaseConfig(
    unet=UNetLayout(block_channels=(32, 64), attention_levels=(1,), context_dim=64, num_heads=2),
    autoencoder=AutoencoderConfig(channels=64, channel_multipliers=(1, 2)),
    text_encoder=TextEncoderConfig(num_layers=1, num_heads=8, token_ids=(3, 5, 49406, 49407)),
    content_encoder=ContentEncoderConfig(width=64, num_layers=2),
    size_px=96,
    latent_rgb=((0.5, 0.0, -0.25),) * 5,
)
WEIGHTS = {part: {"some.weight": torch.full((2, 3), float(n))} for n, part in enumerate(PARTS)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "base.safetensors"
    write_base_model(path, CONFIG, WEIGHTS, {"training": "of a kind"})
    return path


def with_metadata(path, **changes):
    file = open_base_model(path).file
    weights = {name: file.load(name).clone() for name in file.tensors}
    changed = {f"livephoto_base.{name}": text for name, text in changes.items()}
    write_safetensors(path, weights, {**file.metadata, **changed})
    return path


def test_file_gives_back_what_was_written(path):
    file = open_base_model(path)
    assert file.config == CONFIG
    assert file.metadata == {"training": "of a kind"}
    for part, weights in WEIGHTS.items():
        found = file.part(part)
        assert found.keys() == weights.keys()
        assert found["some.weight"].dtype == torch.float16
        assert torch.equal(found["some.weight"].float(), weights["some.weight"])


def test_same_weights_give_the_same_bytes(path, tmp_path):
    again = tmp_path / "again.safetensors"
    write_base_model(again, CONFIG, WEIGHTS, {"training": "of a kind"})
    assert again.read_bytes() == path.read_bytes()


def test_config_survives_json():
    assert decode_base_config(json.dumps(dataclasses.asdict(CONFIG))) == CONFIG


def test_missing_part_is_refused(tmp_path):
    with pytest.raises(ValueError, match="parts must be unet"):
        write_base_model(tmp_path / "x.safetensors", CONFIG, {"unet": {}}, {})


def test_weight_too_large_for_fp16_is_refused_and_the_old_file_kept(path):
    before = path.read_bytes()
    broken = {**WEIGHTS, "unet": {"some.weight": torch.full((1,), 1e6)}}
    with pytest.raises(CheckpointError, match="unet.some.weight contains NaN or infinity"):
        write_base_model(path, CONFIG, broken, {})
    assert path.read_bytes() == before


def test_file_of_a_newer_pack_is_refused(path):
    with pytest.raises(CheckpointError, match="format 2.*update the pack"):
        open_base_model(with_metadata(path, format_version="2"))


def test_another_kind_of_file_is_refused(tmp_path):
    other = tmp_path / "other.safetensors"
    write_safetensors(other, {"weight": torch.zeros(2)}, {})
    with pytest.raises(CheckpointError, match="no base model"):
        open_base_model(other)


CHANGES = {
    "size_px": ["64", 64.5, -96, 97, None],
    "latent_rgb": [[[1, 2, 3]], "red", [["1", "2", "3"]] * 5, [[1e999, 0, 0]] * 5],
    "text_encoder": [3, {"num_heads": 0}, {"num_heads": 3}, {"token_ids": [5]}, {"token_ids": []}],
    "unet": [{"block_channels": [33]}, {"num_heads": "4"}, {"depth": 3}, None],
    "autoencoder": [{"channels": 48}],
    "content_encoder": [{"width": 100}],
    "colour": [3],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in CHANGES.items() for value in values]
)
def test_damaged_description_is_refused(path, name, value):
    text = json.dumps({**dataclasses.asdict(CONFIG), name: value})
    with pytest.raises(CheckpointError, match="damaged description"):
        open_base_model(with_metadata(path, config=text))


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", "null", "{"])
def test_text_that_is_no_description_is_refused(path, text):
    with pytest.raises(CheckpointError, match="damaged description"):
        open_base_model(with_metadata(path, config=text))
