"""Motion modules against diffusers' and against their own invariants."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from einops import rearrange
from torch import nn

from livephoto_core.models import attention
from livephoto_core.models.config import MotionConfig, UNetLayout
from livephoto_core.models.motion import MotionModules, TemporalTransformer, sinusoidal_positions
from tests.models.random_weights import randomise

LAYOUT = UNetLayout(block_channels=(32, 64, 64, 64))


class PerFrameGroupNorm(nn.GroupNorm):
    """AnimateDiff normalises every frame by itself before the temporal transformer; diffusers takes
    the statistics over all frames. The public weights were trained with AnimateDiff's code."""

    def forward(self, x):
        frames = rearrange(x, "b c f h w -> (b f) c h w")
        return rearrange(super().forward(frames), "(b f) c h w -> b c f h w", b=x.shape[0])


def diffusers_module(ours: TemporalTransformer, channels: int, length: int) -> nn.Module:
    theirs = AnimateDiffTransformer3D(
        num_attention_heads=8,
        attention_head_dim=channels // 8,
        in_channels=channels,
        activation_fn="geglu",
        positional_embeddings="sinusoidal",
        num_positional_embeddings=length,
    )
    renamed = {"attention_blocks.0": "attn1", "attention_blocks.1": "attn2"}
    renamed |= {"norms.0": "norm1", "norms.1": "norm2", "ff_norm": "norm3"}
    weights = {}
    for key, value in ours.state_dict().items():
        for old, new in renamed.items():
            key = key.replace(old, new)
        if not key.endswith("pos_encoder.pe"):
            weights[key] = value
    weights["transformer_blocks.0.pos_embed.pe"] = sinusoidal_positions(length, channels)
    theirs.load_state_dict(weights, strict=True)
    theirs.norm.__class__ = PerFrameGroupNorm
    return theirs.eval()


@pytest.fixture(scope="module")
def modules() -> MotionModules:
    made = randomise(MotionModules(MotionConfig(position_length=24), LAYOUT))
    made.make_positions()
    return made


@pytest.mark.parametrize("level", [0, 1])
def test_temporal_transformer_agrees_with_diffusers(modules, level):
    channels = LAYOUT.block_channels[level]
    ours = modules.down_blocks[level].motion_modules[0].temporal_transformer
    x = torch.randn(2 * 6, channels, 4, 5, generator=torch.Generator().manual_seed(1))
    theirs = diffusers_module(ours, channels, length=24)(x, num_frames=6)
    torch.testing.assert_close(ours(x, 6), theirs, rtol=1e-5, atol=1e-5)


def test_frames_permute_with_the_input_without_positions():
    made = randomise(MotionModules(MotionConfig(), LAYOUT))
    for name, buffer in made.named_buffers():
        assert name.endswith("pos_encoder.pe")
        buffer.zero_()
    module = made.down_blocks[0].motion_modules[0]
    x = torch.randn(5, 32, 3, 3, generator=torch.Generator().manual_seed(2))
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(module(x[order], 5), module(x, 5)[order], rtol=1e-5, atol=1e-5)


def test_positions_tell_frames_apart(modules):
    module = modules.down_blocks[0].motion_modules[0]
    x = torch.randn(1, 32, 3, 3, generator=torch.Generator().manual_seed(3)).expand(4, -1, -1, -1)
    out = module(x, 4)
    assert (out[0] - out[1]).abs().max() > 1e-2


def test_clips_in_a_batch_do_not_mix(modules):
    module = modules.down_blocks[0].motion_modules[0]
    x = torch.randn(2 * 4, 32, 3, 3, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(module(x, 4)[:4], module(x[:4], 4), rtol=1e-5, atol=1e-5)


def test_initial_weights_leave_features_bit_identical():
    made = MotionModules(MotionConfig(), LAYOUT)
    made.initialise_weights()
    x = torch.randn(6, 32, 4, 4)
    assert torch.equal(made.down_blocks[0].motion_modules[0](x, 3), x)


@pytest.mark.parametrize(("has_middle", "count"), [(True, 21), (False, 20)])
def test_locations_cover_every_resblock_of_the_way_down_and_up(has_middle, count):
    made = MotionModules(MotionConfig(has_middle=has_middle), LAYOUT, device="meta")
    locations = list(made.by_location)
    assert len(locations) == count
    assert locations[:3] == [("input", 1), ("input", 2), ("input", 4)]
    assert locations[-1] == ("output", 11)
    assert (("middle", 0) in locations) == has_middle


def test_attention_in_chunks_equals_attention_at_once(monkeypatch):
    query, key, value = torch.randn(3, 7, 5, 16, generator=torch.Generator().manual_seed(5))
    whole = attention.multi_head_attention(query, key, value, 8)
    monkeypatch.setattr(attention, "MAX_BATCH", 3)
    torch.testing.assert_close(attention.multi_head_attention(query, key, value, 8), whole)
