import math

import pytest
import torch
from torch import nn

from livephoto_core.models.config import TextReweightingConfig
from livephoto_core.models.text_reweighting import (
    EncoderLayer,
    TextReweighting,
    apply_weights,
    average_over_words,
    interpolate_frames,
    override_words,
    scale_weights,
)

TOKEN_DIM = 32
NUM_FRAMES = 5
CONFIG = TextReweightingConfig(num_layers=2, num_heads=4, num_frames=NUM_FRAMES)


class UninitialisedOperations:
    """Layers whose weights start as NaN, as ComfyUI's start as whatever the memory held."""

    class Linear(nn.Linear):
        def reset_parameters(self):
            for parameter in self.parameters():
                nn.init.constant_(parameter, math.nan)

    class LayerNorm(nn.LayerNorm):
        def reset_parameters(self):
            for parameter in self.parameters():
                nn.init.constant_(parameter, math.nan)


@pytest.fixture
def module():
    """A module as after training: torch's own random weights everywhere."""
    torch.manual_seed(0)
    return TextReweighting(CONFIG, TOKEN_DIM).eval()


@pytest.fixture
def tokens():
    return torch.randn(2, 77, TOKEN_DIM, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_encoder_layer_equals_torchs_pre_norm_layer(tokens):
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(
        TOKEN_DIM,
        4,
        4 * TOKEN_DIM,
        dropout=0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = EncoderLayer(TOKEN_DIM, 4, operations=nn)
    pairs = {
        "attention_norm": theirs.norm1,
        "to_out": theirs.self_attn.out_proj,
        "feed_forward_norm": theirs.norm2,
        "expand": theirs.linear1,
        "contract": theirs.linear2,
    }
    for name, layer in pairs.items():
        getattr(ours, name).load_state_dict(layer.state_dict())
    ours.to_qkv.weight.copy_(theirs.self_attn.in_proj_weight)
    ours.to_qkv.bias.copy_(theirs.self_attn.in_proj_bias)

    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_weights_lie_between_0_and_1_and_differ_by_token_and_frame(module, tokens):
    weights = module(tokens, NUM_FRAMES)

    assert weights.shape == (2, NUM_FRAMES, 77)
    assert 0 < weights.min() < weights.max() < 1
    assert weights.std(dim=1).min() > 0
    assert weights.std(dim=2).min() > 0


def test_initialised_module_weighs_every_token_almost_1(tokens):
    module = TextReweighting(CONFIG, TOKEN_DIM, operations=UninitialisedOperations)
    module.initialise_weights()
    weights = module(tokens, 7)

    torch.testing.assert_close(weights, torch.full((2, 7, 77), 0.98))
    weights.sum().backward()
    assert module.to_frames.weight.grad.norm() > 0


def test_initialised_module_learns_to_single_out_a_token(tokens):
    torch.manual_seed(0)
    module = TextReweighting(CONFIG, TOKEN_DIM)
    module.initialise_weights()
    target = torch.ones(2, NUM_FRAMES, 77)
    target[:, :, 10:20] = 0
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = (module(tokens, NUM_FRAMES) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.1 * losses[0]


@torch.no_grad()
def test_long_prompts_are_weighted_chunk_by_chunk(module, tokens):
    other = tokens.flip(0)
    both = module(torch.cat([tokens, other], dim=1), NUM_FRAMES)
    separate = torch.cat([module(tokens, NUM_FRAMES), module(other, NUM_FRAMES)], dim=2)

    torch.testing.assert_close(both, separate)


@torch.no_grad()
def test_more_frames_keep_the_first_the_last_and_the_trained_ones_between(module, tokens):
    trained = module(tokens, NUM_FRAMES).logit()
    resampled = module(tokens, 2 * NUM_FRAMES - 1).logit()

    torch.testing.assert_close(resampled[:, ::2], trained)
    midpoints = (trained[:, 1:] + trained[:, :-1]) / 2
    torch.testing.assert_close(resampled[:, 1::2], midpoints)


@torch.no_grad()
def test_interpolating_the_outputs_equals_interpolating_the_layer(module, tokens):
    resampled = TextReweighting(
        TextReweightingConfig(num_layers=2, num_heads=4, num_frames=12), TOKEN_DIM
    )
    state = module.state_dict()
    state["to_frames.weight"] = interpolate_frames(state["to_frames.weight"].T, 12).T
    state["to_frames.bias"] = interpolate_frames(state["to_frames.bias"], 12)
    resampled.load_state_dict(state)

    torch.testing.assert_close(module(tokens, 12), resampled(tokens, 12))


@pytest.mark.parametrize("num_frames", [2, 3, 7, 24, 121])
def test_interpolation_keeps_the_ends_bit_for_bit_and_equals_torchs(num_frames):
    values = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    resampled = interpolate_frames(values, num_frames)
    expected = nn.functional.interpolate(
        values[None], num_frames, mode="linear", align_corners=True
    )[0]

    assert torch.equal(resampled[:, [0, -1]], values[:, [0, -1]])
    torch.testing.assert_close(resampled, expected)


@torch.no_grad()
def test_single_frame_gets_the_first_trained_frame(module, tokens):
    torch.testing.assert_close(module(tokens, 1), module(tokens, NUM_FRAMES)[:, :1])


@torch.no_grad()
def test_module_of_a_single_frame_serves_every_frame(tokens):
    module = TextReweighting(TextReweightingConfig(1, 4, num_frames=1), TOKEN_DIM)

    weights = module(tokens, 3)

    assert torch.equal(weights, weights[:, :1].expand(-1, 3, -1))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 77, 48), r"must be \(b n 32\), got \(2, 77, 48\)"),
        ((77, TOKEN_DIM), r"must be \(b n 32\)"),
        ((2, 81, TOKEN_DIM), "chunks of 77.*got 81"),
        ((2, 0, TOKEN_DIM), "chunks of 77.*got 0"),
    ],
)
def test_tokens_of_another_text_encoder_are_refused(module, shape, message):
    with pytest.raises(ValueError, match=message):
        module(torch.zeros(shape), NUM_FRAMES)


def test_no_frames_are_refused(module, tokens):
    with pytest.raises(ValueError, match="num_frames must be at least 1, got 0"):
        module(tokens, 0)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="multiple of the 4 heads.*got 30"):
        TextReweighting(CONFIG, 30)


def test_every_token_is_multiplied_by_its_weight_in_every_frame(tokens):
    weights = torch.rand(2, 3, 77, generator=torch.Generator().manual_seed(2))
    weighted = apply_weights(tokens, weights)

    for frame in range(3):
        torch.testing.assert_close(weighted[:, frame], tokens * weights[:, frame, :, None])


def test_weights_of_1_leave_the_text_bit_identical(tokens):
    weighted = apply_weights(tokens, torch.ones(2, 3, 77))

    assert torch.equal(weighted, tokens[:, None].expand(-1, 3, -1, -1))


@pytest.mark.parametrize("shape", [(1, 3, 77), (2, 3, 154), (2, 77)])
def test_weights_for_other_tokens_are_refused(tokens, shape):
    with pytest.raises(ValueError, match=r"weights must be \(b f n\)"):
        apply_weights(tokens, torch.ones(shape))


def test_strength_moves_weights_between_none_and_exaggerated():
    weights = torch.tensor([0.25, 0.75, 1.0])

    assert scale_weights(weights, 0).tolist() == [1, 1, 1]
    assert scale_weights(weights, 1).tolist() == [0.25, 0.75, 1]
    assert scale_weights(weights, 2).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("strength", [-1, math.nan, math.inf])
def test_impossible_strength_is_refused(strength):
    with pytest.raises(ValueError, match="strength must be 0 or more"):
        scale_weights(torch.ones(3), strength)


# "a dino-saur waving": start, a, dino, saur, waving, end, padding
WORDS = ["a", "dinosaur", "waving"]
WORD_IDS = [-1, 0, 1, 1, 2, -1, -1]


def test_tokens_of_one_word_are_averaged():
    weights = torch.tensor([[9, 0.5, 0.2, 0.4, 0.9, 9, 9], [9, 0.1, 0.8, 0.4, 0.7, 9, 9]])

    averaged = average_over_words(weights, WORD_IDS)

    torch.testing.assert_close(averaged, torch.tensor([[0.5, 0.3, 0.9], [0.1, 0.6, 0.7]]))


def test_empty_prompt_has_no_words():
    assert average_over_words(torch.ones(2, 3), [-1, -1, -1]).shape == (2, 0)


def test_overrides_replace_all_tokens_of_a_word_in_every_frame():
    weights = torch.rand(2, 7, generator=torch.Generator().manual_seed(0))
    before = weights.clone()

    overridden = override_words(
        weights, WORD_IDS, words=WORDS, overrides={"Dinosaur": 0.2, "waving": 1.5}
    )

    expected = before.clone()
    expected[:, 2:4] = 0.2
    expected[:, 4] = 1.5
    assert torch.equal(overridden, expected)
    assert torch.equal(weights, before)


def test_override_reaches_every_occurrence_of_the_word():
    overridden = override_words(
        torch.ones(4), [0, 1, 2, -1], words=["run", "and", "Run"], overrides={"run": 0}
    )

    assert overridden.tolist() == [0, 1, 0, 1]


def test_overriding_a_word_that_is_not_there_lists_the_words():
    with pytest.raises(ValueError, match="'dog'.*Its words are: a, dinosaur, waving"):
        override_words(torch.ones(7), WORD_IDS, words=WORDS, overrides={"dog": 1})


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_impossible_override_is_refused(weight):
    with pytest.raises(ValueError, match="weight of 'waving' must be 0 or more"):
        override_words(torch.ones(7), WORD_IDS, words=WORDS, overrides={"waving": weight})


@pytest.mark.parametrize(
    ("word_ids", "message"),
    [
        ([0, 1], "one id for each of the 3 tokens, got 2"),
        ([0, -2, 1], "-1 or more, got -2"),
        ([0, 2, 2], r"without gaps, but no token has \[1\]"),
    ],
)
def test_word_ids_that_do_not_fit_are_refused(word_ids, message):
    with pytest.raises(ValueError, match=message):
        average_over_words(torch.ones(3), word_ids)
