"""Added input channels against one convolution over the concatenation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from livephoto_core.models.config import InputConditioningConfig, UNetLayout
from livephoto_core.models.input_conditioning import (
    InputConditioning,
    affinity,
    assemble_channels,
    frame_positions,
)
from tests.models.random_weights import randomise

LIVEPHOTO = InputConditioningConfig()
PIA = InputConditioningConfig(channels=("affinity", "reference"))


@pytest.mark.parametrize(("config", "added"), [(LIVEPHOTO, 6), (PIA, 5)])
def test_sum_of_two_convolutions_equals_one_over_all_channels(config, added):
    part = randomise(InputConditioning(config, UNetLayout(block_channels=(16, 16, 16, 16))))
    base = randomise(nn.Conv2d(4, 16, 3, padding=1))
    whole = nn.Conv2d(4 + added, 16, 3, padding=1).requires_grad_(False)
    whole.weight.copy_(torch.cat([base.weight, part.conv.weight], dim=1))
    whole.bias.copy_(base.bias)
    noise = torch.randn(3, 4, 8, 8)
    channels = assemble_channels(config, reference=torch.randn(1, 4, 8, 8), level=7, num_frames=3)
    together = whole(torch.cat([noise, channels], dim=1))
    torch.testing.assert_close(base(noise) + part(channels), together, rtol=1e-5, atol=1e-5)


def test_initial_weights_add_nothing():
    part = InputConditioning(LIVEPHOTO, UNetLayout())
    part.initialise_weights()
    assert not part(torch.randn(2, 6, 4, 4)).any()


def test_channels_stand_in_the_papers_order():
    reference = torch.randn(1, 4, 2, 3)
    channels = assemble_channels(LIVEPHOTO, reference=reference, level=5, num_frames=4)
    assert channels.shape == (4, 6, 2, 3)
    assert torch.equal(channels[2, :4], reference[0])
    assert (channels[:, 4] == 5).all()
    torch.testing.assert_close(channels[:, 5, 0, 0], torch.tensor([0, 1 / 3, 2 / 3, 1]))


def test_frame_positions_run_from_zero_to_one():
    assert frame_positions(16)[0] == 0 and frame_positions(16)[-1] == 1


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (1, [1, 0.9, 0.85, 0.85, 0.85, 0.8, 0.8, 0.8]),
        (5.5, [1, 0.8, 0.8, 0.8, 0.79, 0.78, 0.75, 0.75]),
        (10, [1, 0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7]),
    ],
)
def test_affinity_holds_pias_published_tables(level, expected):
    torch.testing.assert_close(affinity(level, 8), torch.tensor(expected, dtype=torch.float32))


def test_affinity_falls_with_the_level():
    later = [affinity(level, 16)[8].item() for level in range(1, 11)]
    assert later == sorted(later, reverse=True) and later[0] > later[-1]


@pytest.mark.parametrize("level", [0, 10.5, float("nan")])
def test_level_out_of_range_is_refused(level):
    with pytest.raises(ValueError, match="motion_intensity goes from 1"):
        assemble_channels(LIVEPHOTO, reference=torch.zeros(1, 4, 2, 2), level=level, num_frames=2)


def test_several_references_are_refused():
    with pytest.raises(ValueError, match="reference must be one latent"):
        assemble_channels(LIVEPHOTO, reference=torch.zeros(2, 4, 2, 2), level=5, num_frames=2)
