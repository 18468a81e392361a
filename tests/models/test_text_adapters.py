"""Text adapters: nothing at first, then the linear maps they say they are."""

from __future__ import annotations

import torch

from livephoto_core.models.config import UNetLayout
from livephoto_core.models.text_adapters import TextAdapters
from tests.models.random_weights import randomise

LAYOUT = UNetLayout(block_channels=(32, 64, 64, 64), context_dim=48)
TOKENS = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(1))


def test_sd15_has_one_at_each_of_its_sixteen_cross_attentions():
    names = list(TextAdapters(UNetLayout(), device="meta").adapters)
    inputs = [f"input_{index}" for index in (1, 2, 4, 5, 7, 8)]
    assert names == [*inputs, "middle_0", *(f"output_{index}" for index in range(3, 12))]


def test_initial_weights_leave_the_tokens():
    adapters = TextAdapters(LAYOUT)
    adapters.initialise_weights()
    for_keys, for_values = adapters.at(("middle", 0))(TOKENS, 2 * TOKENS)
    assert torch.equal(for_keys, TOKENS) and torch.equal(for_values, 2 * TOKENS)


def test_a_projection_of_adapted_tokens_is_an_adapted_projection():
    adapter = randomise(TextAdapters(LAYOUT)).at(("input", 4))
    projection = torch.nn.Linear(48, 64, bias=False)
    for given, matrix in zip(
        adapter(TOKENS, TOKENS), (adapter.for_keys.weight, adapter.for_values.weight), strict=True
    ):
        adapted = projection.weight @ (torch.eye(48) + matrix)
        torch.testing.assert_close(projection(given), TOKENS @ adapted.mT, rtol=1e-4, atol=1e-5)
