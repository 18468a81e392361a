"""A stream that is encoded once, in one go or in several."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from livephoto_core.shapes import encoded_stream
from livephoto_core.shapes.encoded_stream import Stream, digest, encode_stream

PART = 4


def render(number):
    return np.arange(number * PART, (number + 1) * PART)


def encode(part):
    return {"squares": part**2, "halves": np.stack([part / 2, part / 4], axis=1)}


def stream(**changes) -> Stream:
    made = Stream(
        name="numbers",
        count=24,
        part_size=PART,
        arrays={"squares": ((), np.int64), "halves": ((2,), np.float32)},
        render=render,
        encode=encode,
        description={"seed": 0},
    )
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_item_is_in_its_place(num_workers, tmp_path):
    arrays = encode_stream(stream(), tmp_path, num_workers=num_workers)
    assert arrays["squares"].tolist() == [n**2 for n in range(24)]
    assert arrays["halves"][6].tolist() == [3.0, 1.5]


def test_interrupted_encoding_is_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded_stream, "_PARTS_PER_SAVE", 2)
    seen = []

    def encode_some(part):
        seen.append(int(part[0]))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return encode(part)

    with pytest.raises(KeyboardInterrupt):
        encode_stream(stream(encode=encode_some), tmp_path, num_workers=0)
    arrays = encode_stream(stream(encode=encode_some), tmp_path, num_workers=0)
    assert arrays["squares"].tolist() == [n**2 for n in range(24)]
    # Two parts were saved; the third and the fourth had to be made again.
    assert seen == [0, 4, 8, 12, 8, 12, 16, 20]
    encode_stream(stream(encode=encode_some), tmp_path, num_workers=0)
    assert len(seen) == 8


def test_another_stream_is_not_continued(tmp_path):
    encode_stream(stream(), tmp_path, num_workers=0)
    with pytest.raises(ValueError, match="made with another seed"):
        encode_stream(stream(description={"seed": 1}), tmp_path, num_workers=0)
    with pytest.raises(ValueError, match="made with another count"):
        encode_stream(stream(count=28), tmp_path, num_workers=0)


def test_digest_tells_weights_apart_but_not_dtypes():
    weights = {"b": torch.ones(2), "a": torch.arange(3.0)}
    assert digest(weights) == digest({name: weights[name].half() for name in ("a", "b")})
    assert digest(weights) != digest({**weights, "a": torch.zeros(3)})
