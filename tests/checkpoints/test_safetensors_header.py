"""The header reader against safetensors' own, and against damaged and hostile files."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from livephoto_core.checkpoints.errors import CheckpointError
from livephoto_core.checkpoints.safetensors_header import (
    MAX_HEADER_BYTES,
    MAX_TENSORS,
    read_header,
)
from tests.checkpoints.weight_files import write_raw

MEBIBYTE = 2**20


def entry(shape: object = (2,), offsets: object = (0, 8), dtype: object = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_header_of_library_file_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {
        "a": torch.ones(2, 3),
        "b": torch.zeros(5, dtype=torch.bfloat16),
        "c": torch.ones(()),
    }
    save_file(tensors, path, metadata={"author": "ß"})
    header = read_header(path)
    with safe_open(path, framework="pt") as reference:
        names = reference.keys()
        assert dict(header.metadata) == reference.metadata()
        assert {name: list(info.shape) for name, info in header.tensors.items()} == {
            name: reference.get_slice(name).get_shape() for name in names
        }
        assert {name: info.dtype for name, info in header.tensors.items()} == {
            name: reference.get_slice(name).get_dtype() for name in names
        }


DAMAGED = {
    "duplicate name": b'{"a":%b,"a":%b}' % ((json.dumps(entry()).encode(),) * 2),
    "overlap": {"a": entry(), "b": entry(offsets=(4, 12))},
    "gap": {"a": entry(), "b": entry(offsets=(12, 20))},
    "data follow the last tensor": {"a": entry(shape=(1,), offsets=(0, 4))},
    "shape larger than data": {"a": entry(shape=(10**6, 10**6))},
    "shape smaller than data": {"a": entry(shape=(1,))},
    "negative shape": {"a": entry(shape=(-2, -1))},
    "shape of truth values": {"a": entry(shape=(True, 2))},
    "fractional shape": {"a": entry(shape=(2.0,))},
    "shape no integer type holds": {"a": entry(shape=(2**64, 0), offsets=(0, 0))},
    "too many dimensions": {"a": entry(shape=(1,) * 8 + (2,))},
    "shape is text": {"a": entry(shape="2")},
    "backward offsets": {"a": entry(offsets=(8, 0))},
    "one offset": {"a": entry(offsets=(0,))},
    "unknown dtype": {"a": entry(dtype="F7")},
    "dtype is a number": {"a": entry(dtype=32)},
    "missing field": {"a": {"dtype": "F32", "shape": [2]}},
    "unknown field": {"a": {**entry(), "strides": [1]}},
    "tensor is a list": {"a": [1]},
    "metadata hold a number": {"__metadata__": {"a": 1}, "a": entry()},
    "metadata are a list": {"__metadata__": [], "a": entry()},
    "NaN in JSON": b'{"a":NaN}',
    "cut JSON": b'{"a":',
    "not UTF-8": b'{"\xff":1}',
    "JSON list": b"[1]",
    "leading blank": b' {"a":1}',
    "deep nesting": b'{"a":' + b"[" * 5000,
    "number of many digits": b'{"a":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("header", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_header_is_refused(tmp_path: Path, header: object) -> None:
    path = write_raw(tmp_path / "model.safetensors", header, bytes(8))
    with pytest.raises(CheckpointError, match=r"^model\.safetensors has a damaged header \("):
        read_header(path)


def test_cut_file_states_expected_and_actual_size(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "model.safetensors", {"a": entry(shape=(1000,), offsets=(0, 4000))})
    whole = path.stat().st_size + 4000
    with pytest.raises(
        CheckpointError, match=f"should have {whole:,} bytes and has {whole - 4000}"
    ):
        read_header(path)


def test_file_cut_within_header_is_refused(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "model.safetensors", {"a": entry()})
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="is cut off: it should have"):
        read_header(path)


def _peak_bytes(path: Path) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            read_header(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_header_that_claims_a_trillion_elements_costs_no_memory(tmp_path: Path) -> None:
    claims = {"a": entry(shape=(10**12,), offsets=(0, 4 * 10**12))}
    assert _peak_bytes(write_raw(tmp_path / "model.safetensors", claims)) < MEBIBYTE


def test_header_length_of_a_terabyte_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((10**12).to_bytes(8, "little") + b"{" + bytes(100))
    assert _peak_bytes(path) < MEBIBYTE


@pytest.mark.parametrize("unit", [b"{},", b"[],", b'"a",', b'{"a":1},'])
def test_largest_hostile_header_costs_bounded_memory(tmp_path: Path, unit: bytes) -> None:
    body = b'{"a":[' + unit * ((MAX_HEADER_BYTES - 16) // len(unit))
    path = write_raw(tmp_path / "model.safetensors", body)
    assert _peak_bytes(path) < 16 * MAX_HEADER_BYTES


def test_too_many_tensors_are_refused(tmp_path: Path) -> None:
    empty = entry(shape=(0,), offsets=(0, 0))
    path = write_raw(
        tmp_path / "model.safetensors", {f"{n}": empty for n in range(MAX_TENSORS + 1)}
    )
    with pytest.raises(CheckpointError, match="more than 20,000 entries"):
        read_header(path)


ITEM_BYTES = {"F32": 4, "F16": 2, "U8": 1, "F64": 8}


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, int]:
    """Header and number of data bytes of a valid file, then up to one figure changed."""
    header: dict[str, dict] = {}
    position = 0
    for name in draw(st.sets(st.sampled_from("abc"), min_size=1)):
        dtype = draw(st.sampled_from(sorted(ITEM_BYTES)))
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        stop = position + math.prod(shape) * ITEM_BYTES[dtype]
        header[name] = entry(shape=shape, offsets=[position, stop], dtype=dtype)
        position = stop
    changed = header[draw(st.sampled_from(sorted(header)))]
    numbers = changed[draw(st.sampled_from(["shape", "data_offsets"]))]
    if numbers and draw(st.booleans()):
        index = draw(st.integers(0, len(numbers) - 1))
        numbers[index] += draw(st.sampled_from([-1, 1, 2, 4, 2**40]))
    return json.dumps(header).encode(), max(0, position + draw(st.sampled_from([0, 0, -1, 1, 4])))


whole_file = {
    "a": entry(shape=(2,), offsets=(0, 4), dtype="F16"),
    "b": entry(shape=(1, 1), offsets=(4, 8)),
}
FUZZ = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(file=files())
def test_accepted_headers_are_accepted_by_the_library(
    tmp_path: Path, file: tuple[bytes, int]
) -> None:
    header, num_data_bytes = file
    _agrees_with_library(write_raw(tmp_path / "f.safetensors", header, bytes(num_data_bytes)))


@FUZZ
@given(content=st.binary(max_size=60))
def test_random_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    _agrees_with_library(write_raw(tmp_path / "f.safetensors", content))


@FUZZ
@given(position=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(0, 200))
def test_mutated_files_never_raise_anything_else(
    tmp_path: Path, position: int, value: int, cut: int
) -> None:
    path = write_raw(tmp_path / "f.safetensors", whole_file, bytes(8))
    content = bytearray(path.read_bytes())
    content[position % len(content)] = value
    path.write_bytes(content[: len(content) - cut if cut < len(content) // 2 else None])
    _agrees_with_library(path)


def _agrees_with_library(path: Path) -> None:
    """Either refused in our words, or the library reads the same."""
    try:
        header = read_header(path)
    except CheckpointError:
        return
    with safe_open(path, framework="pt") as reference:
        names = reference.keys()
        assert {name: list(info.shape) for name, info in header.tensors.items()} == {
            name: reference.get_slice(name).get_shape() for name in names
        }
