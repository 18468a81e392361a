"""Descriptions survive the trip through strings; damaged ones are refused by field."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livephoto_core.checkpoints.config_metadata import check_config, decode_config, encode_config
from livephoto_core.models.config import (
    ContentConfig,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    TextReweightingConfig,
    UNetLayout,
)
from tests.checkpoints.weight_files import TINY

sizes = st.integers(1, 4096)
layouts = st.builds(
    UNetLayout,
    block_channels=st.lists(st.integers(1, 40).map(lambda n: 32 * n), min_size=1, max_size=5).map(
        tuple
    ),
    layers_per_block=st.integers(1, 4),
    attention_levels=st.just((0,)),
    context_dim=sizes.map(lambda n: 8 * n),
    num_heads=st.sampled_from([1, 2, 4, 8]),
    latent_channels=st.integers(1, 16),
)
motions = st.builds(
    MotionConfig,
    kind=st.sampled_from(["LivePhoto", "PIA", "AnimateLCM"]),
    position_length=st.none() | sizes,
    has_middle=st.booleans(),
    num_heads=st.sampled_from([1, 2, 4, 8]),
)
inputs = st.builds(
    InputConditioningConfig,
    channels=st.permutations(["reference", "intensity", "frame", "affinity"]).map(
        lambda order: tuple(order[:3])
    ),
)
contents = st.builds(
    ContentConfig, encoder=st.text("dinov2-ß", min_size=1), encoder_dim=sizes, token_dim=sizes
)
texts = st.builds(
    TextReweightingConfig,
    num_layers=st.integers(1, 6),
    num_heads=st.sampled_from([1, 2, 4, 8]),
    num_frames=sizes,
)
edges = st.lists(st.floats(-1, 1), min_size=9, max_size=9).map(
    lambda values: tuple(sorted(values, reverse=True))
)
configs = st.builds(
    LivePhotoConfig,
    layout=layouts,
    motion=st.none() | motions,
    input_conditioning=st.none() | inputs,
    content=st.none() | contents,
    text_reweighting=st.none() | texts,
    num_frames=sizes,
    training_size_px=st.tuples(sizes, sizes),
    ssim_edges=st.none() | edges,
    noise_schedule=st.sampled_from(["linear", "scaled_linear"]),
    cross_frame_group_norm=st.booleans(),
    text_adapters=st.booleans(),
)


@settings(deadline=None, max_examples=200)
@given(configs)
def test_description_round_trips_exactly(config: LivePhotoConfig) -> None:
    assert decode_config(encode_config(config)) == config


def test_description_without_text_adapters_is_that_of_the_first_readers() -> None:
    fields = encode_config(TINY)
    assert "text_adapters" not in fields
    assert decode_config(fields) == TINY
    assert encode_config(dataclasses.replace(TINY, text_adapters=True))["text_adapters"] == "true"


def test_every_field_is_a_json_string() -> None:
    fields = encode_config(TINY)
    assert json.loads(fields["input_conditioning"]) == {
        "channels": ["reference", "intensity", "frame"]
    }
    assert json.loads(fields["training_size_px"]) == [64, 96]


DAMAGED = {
    "num_frames": ["0", '"16"', "16.0", "true", "[", "10000000", "null"],
    "training_size_px": ["[1]", "[1, 2, 3]", "[0, 5]", "16", '["a", 1]'],
    "ssim_edges": ["[0.5]", "[1,2,3,4,5,6,7,8,9]", "[0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8]", "[NaN]"],
    "noise_schedule": ['"cosine"', "[]", "null"],
    "cross_frame_group_norm": ["1", '"yes"'],
    "motion": ["[]", "{}", "[" * 100_000],
}
DAMAGED_PARTS = {
    "layout": [
        {"block_channels": []},
        {"block_channels": [33]},
        {"block_channels": [32] * 9},
        {"block_channels": [32] * 100},
        {"block_channels": [-32]},
        {"layers_per_block": 10**9},
        {"layers_per_block": 0},
        {"attention_levels": [2]},
        {"num_heads": 0},
        {"num_heads": 3},
        {"context_dim": 0},
        {"latent_channels": -1},
        {"surprise": 1},
    ],
    "motion": [
        {"kind": "SVD"},
        {"position_length": 0},
        {"has_middle": None},
        {"num_heads": 7},
    ],
    "input_conditioning": [
        {"channels": []},
        {"channels": ["frame", "frame"]},
        {"channels": ["depth"]},
        {"channels": "frame"},
    ],
    "content": [{"encoder": 1}, {"encoder_dim": 0}, {"token_dim": None}],
    "text_reweighting": [{"num_layers": 1000}, {"num_heads": 5}, {"num_frames": 0}],
}


def damaged_fields() -> list[tuple[str, str]]:
    fields = encode_config(TINY)
    changed = [
        (name, json.dumps({**json.loads(fields[name]), **change}))
        for name, changes in DAMAGED_PARTS.items()
        for change in changes
    ]
    return changed + [(name, text) for name, texts in DAMAGED.items() for text in texts]


@pytest.mark.parametrize(("field", "text"), damaged_fields(), ids=lambda value: value[:40])
def test_damaged_field_is_refused_by_name(field: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        decode_config({**encode_config(TINY), field: text})


@pytest.mark.parametrize("field", encode_config(TINY))
def test_missing_field_is_refused_by_name(field: str) -> None:
    fields = encode_config(TINY)
    del fields[field]
    with pytest.raises(ValueError, match=f"^{field}: is missing"):
        decode_config(fields)


def test_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^camera: is unknown"):
        decode_config({**encode_config(TINY), "camera": "1"})


def test_default_configs_can_be_built() -> None:
    check_config(LivePhotoConfig())
    check_config(
        LivePhotoConfig(
            motion=MotionConfig(),
            input_conditioning=InputConditioningConfig(),
            content=ContentConfig(),
            text_reweighting=TextReweightingConfig(),
        )
    )
