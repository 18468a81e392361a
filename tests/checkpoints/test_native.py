"""The native format: written whole or not at all, read back bit for bit."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from livephoto_core.checkpoints import CheckpointError, describe, read_checkpoint, write_checkpoint
from livephoto_core.models.config import LivePhotoConfig, MotionConfig
from livephoto_core.models.livephoto import LivePhoto
from tests.checkpoints.weight_files import TINY, TINY_LAYOUT, random_weights

PARTS = ("motion", "input_conditioning", "content", "text_reweighting")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    message = str(error.value)
    assert message.startswith(path.name) and message.endswith(".")
    return message


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_round_trip_is_bit_identical(path: Path, dtype: torch.dtype) -> None:
    weights = random_weights(TINY, dtype)
    write_checkpoint(path, TINY, weights)
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == TINY
    assert checkpoint.state_dict.keys() == weights.keys()
    for name, tensor in weights.items():
        assert checkpoint.state_dict[name].dtype == dtype
        assert torch.equal(checkpoint.state_dict[name], tensor)
    LivePhoto(TINY).load_state_dict(checkpoint.state_dict, strict=True)


def test_mixed_dtypes_and_strides_round_trip(path: Path) -> None:
    weights = random_weights(TINY)
    for index, name in enumerate(weights):
        weights[name] = weights[name].to((torch.float16, torch.float32, torch.bfloat16)[index % 3])
    name = "input_conditioning.conv.weight"
    weights[name] = weights[name].to(memory_format=torch.channels_last).requires_grad_()
    write_checkpoint(path, TINY, weights)
    state_dict = read_checkpoint(path).state_dict
    assert all(torch.equal(state_dict[name], tensor) for name, tensor in weights.items())


def test_written_file_is_read_by_the_safetensors_library(path: Path) -> None:
    weights = random_weights(TINY, torch.bfloat16)
    write_checkpoint(path, TINY, weights, extra_metadata={"author": "ß"})
    loaded = load_file(path)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in weights.items())
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["livephoto.format_version"] == "1" and metadata["author"] == "ß"


@pytest.mark.parametrize("part", PARTS)
def test_checkpoint_with_one_part_round_trips(path: Path, part: str) -> None:
    others = {name: None for name in PARTS if name != part}
    config = dataclasses.replace(TINY, **others)
    write_checkpoint(path, config, random_weights(config))
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == config
    assert describe(checkpoint.config).count(": no") == 3
    assert all(name.startswith(f"{part}.") for name in checkpoint.state_dict)


def test_motion_that_stored_no_positions_round_trips(path: Path) -> None:
    motion = MotionConfig("AnimateLCM", position_length=None, num_heads=2)
    config = LivePhotoConfig(layout=TINY_LAYOUT, motion=motion)
    weights = random_weights(config)
    write_checkpoint(path, config, weights)
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == config
    assert all(torch.equal(checkpoint.state_dict[name], t) for name, t in weights.items())


def test_same_weights_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    weights, other = random_weights(TINY), tmp_path / "other.safetensors"
    write_checkpoint(path, TINY, weights, extra_metadata={"a": "1", "b": "2"})
    backward = dict(reversed(weights.items()))
    write_checkpoint(other, TINY, backward, extra_metadata={"b": "2", "a": "1"})
    assert path.read_bytes() == other.read_bytes()


def test_extra_metadata_are_kept(path: Path) -> None:
    extra = {"author": "someone", "training": '{"steps": 1000}', "format": "pt"}
    write_checkpoint(path, TINY, random_weights(TINY), extra_metadata=extra)
    assert read_checkpoint(path).metadata == extra


@pytest.mark.parametrize("extra", [{"livephoto.author": "x"}, {"steps": 3}])
def test_extra_metadata_of_another_kind_are_refused(path: Path, extra: dict) -> None:
    with pytest.raises(ValueError, match=r"extra_metadata\['"):
        write_checkpoint(path, TINY, random_weights(TINY), extra_metadata=extra)
    assert not path.exists()


def rewrite_metadata(path: Path, **changes: str) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = {
            **file.metadata(),
            **{f"livephoto.{key}": text for key, text in changes.items()},
        }
    save_file(load_file(path), path, metadata=metadata)


@pytest.fixture
def written(path: Path) -> Path:
    write_checkpoint(path, TINY, random_weights(TINY))
    return path


def test_newer_format_is_refused(written: Path) -> None:
    rewrite_metadata(written, format_version="2", new_field="1")
    assert refused(written) == (
        "model.safetensors was written by a newer version of this pack (format 2, this one reads "
        "up to 1): update the pack."
    )


@pytest.mark.parametrize("version", ["", "x", "-1", "1.0", "²", "9" * 5000])
def test_strange_version_is_refused(written: Path, version: str) -> None:
    rewrite_metadata(written, format_version=version)
    assert "has no valid format version" in refused(written)


def test_damaged_description_names_the_field(written: Path) -> None:
    rewrite_metadata(written, layout='{"block_channels": [32]}')
    assert "has a damaged LivePhoto description (layout." in refused(written)


def test_description_of_other_modules_is_refused(written: Path) -> None:
    rewrite_metadata(written, content="null")
    assert "weights that do not belong to it, such as content." in refused(written)


def test_description_without_parts_is_refused(written: Path) -> None:
    rewrite_metadata(written, **dict.fromkeys(PARTS, "null"))
    assert "carries no part of LivePhoto" in refused(written)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_broken_weights_are_not_read(written: Path, value: float) -> None:
    weights = load_file(written)
    weights["content.projection.bias"][3] = value
    with safe_open(written, framework="pt") as file:
        save_file(weights, written, metadata=file.metadata())
    assert "content.projection.bias contains NaN or infinity" in refused(written)


def test_weights_that_do_not_fit_are_not_written(written: Path) -> None:
    before = written.read_bytes()
    weights = random_weights(TINY)
    name = "content.projection.bias"
    cases = {
        "contains NaN": {**weights, name: weights[name] * torch.nan},
        "lacks 1 of": {key: tensor for key, tensor in weights.items() if key != name},
        "do not belong": {**weights, "camera": torch.ones(1)},
        "another size": {**weights, name: torch.ones(3)},
        "as F64": {**weights, name: weights[name].double()},
    }
    for sentence, changed in cases.items():
        with pytest.raises(CheckpointError, match=sentence):
            write_checkpoint(written, TINY, changed)
    assert written.read_bytes() == before


def test_impossible_config_is_not_written(path: Path) -> None:
    config = LivePhotoConfig(layout=TINY_LAYOUT, motion=MotionConfig(num_heads=5))
    with pytest.raises(ValueError, match=r"motion\.num_heads: 5 is out of range"):
        write_checkpoint(path, config, {})


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Lets no file grow beyond 50 kB, as a full disk would."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, previous)


def test_failed_write_leaves_the_old_file_and_nothing_else(written: Path, full_disk: None) -> None:
    before = written.read_bytes()
    with pytest.raises(CheckpointError, match=r"^model\.safetensors cannot be written: File too"):
        write_checkpoint(written, TINY, random_weights(TINY))
    assert written.read_bytes() == before
    assert [file.name for file in written.parent.iterdir()] == ["model.safetensors"]


def test_writing_into_a_missing_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written: No such file or directory"):
        write_checkpoint(tmp_path / "gone" / "x.safetensors", TINY, random_weights(TINY))


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be replaced there")
def test_file_can_be_replaced_while_its_weights_are_in_use(written: Path) -> None:
    old = read_checkpoint(written).state_dict
    kept = {name: tensor.clone() for name, tensor in old.items()}
    write_checkpoint(written, TINY, {name: tensor + 1 for name, tensor in old.items()})
    assert all(torch.equal(old[name], tensor) for name, tensor in kept.items())
    new = read_checkpoint(written).state_dict
    assert all(torch.equal(new[name], tensor + 1) for name, tensor in kept.items())
