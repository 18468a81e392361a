"""Added cross-attention against diffusers' attention and its invariants."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention

from livephoto_core.models.config import ContentConfig, UNetLayout
from livephoto_core.models.content_attention import ContentAttention
from tests.models.random_weights import randomise

LAYOUT = UNetLayout(block_channels=(32, 64, 64, 64))
CONFIG = ContentConfig(encoder="tiny", encoder_dim=24, token_dim=48)


@pytest.fixture(scope="module")
def content() -> ContentAttention:
    return randomise(ContentAttention(CONFIG, LAYOUT))


def test_sd15_has_sixteen_locations_in_running_order():
    made = ContentAttention(CONFIG, UNetLayout(), device="meta")
    inputs = [("input", i) for i in (1, 2, 4, 5, 7, 8)]
    assert made.locations == [*inputs, ("middle", 0), *(("output", i) for i in range(3, 12))]


@pytest.mark.parametrize("location", [("input", 1), ("middle", 0), ("output", 8)])
def test_cross_attention_agrees_with_diffusers(content, location):
    ours = content.attention[f"{location[0]}_{location[1]}"]
    channels = ours.to_q.in_features
    theirs = Attention(
        query_dim=channels, cross_attention_dim=48, heads=8, dim_head=channels // 8
    ).requires_grad_(False)
    weights = {k.replace("to_out.", "to_out.0."): v for k, v in ours.state_dict().items()}
    theirs.load_state_dict(weights, strict=True)
    hidden, patch_tokens = torch.randn(6, 9, channels), torch.randn(1, 16, 24)
    tokens = content.projection(patch_tokens).expand(6, -1, -1)
    got = content(location, hidden, content.keys_values(patch_tokens))
    torch.testing.assert_close(
        got, theirs(hidden, encoder_hidden_states=tokens), rtol=1e-5, atol=1e-5
    )


def test_initial_weights_add_nothing():
    made = ContentAttention(CONFIG, LAYOUT)
    made.initialise_weights()
    keys_values = made.keys_values(torch.randn(1, 16, 24))
    assert not made(("input", 1), torch.randn(2, 4, 32), keys_values).any()


def test_frames_do_not_see_each_other(content):
    keys_values = content.keys_values(torch.randn(1, 16, 24))
    hidden = torch.randn(4, 9, 32)
    alone = content(("input", 1), hidden[2:3], keys_values)
    together = content(("input", 1), hidden, keys_values)[2:3]
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-5)


def test_clips_of_a_batch_attend_to_their_own_image(content):
    patch_tokens, hidden = torch.randn(2, 16, 24), torch.randn(2 * 3, 9, 32)
    both = content(("input", 1), hidden, content.keys_values(patch_tokens))
    second = content(("input", 1), hidden[3:], content.keys_values(patch_tokens[1:]))
    torch.testing.assert_close(both[3:], second, rtol=1e-5, atol=1e-5)
