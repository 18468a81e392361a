"""Warm-up and the moving average, against closed forms."""

from __future__ import annotations

import pytest
import torch

from livephoto_core.training.optimiser import (
    OptimiserOptions,
    make_optimiser,
    set_learning_rate,
    update_ema,
)


def test_learning_rate_grows_linearly_to_its_value():
    options = OptimiserOptions(learning_rate=4e-4, warmup_steps=4)
    rates = [options.learning_rate_at(step, 100) for step in range(6)]
    assert rates == pytest.approx([1e-4, 2e-4, 3e-4, 4e-4, 4e-4, 4e-4])
    assert OptimiserOptions(learning_rate=1.0, warmup_steps=0).learning_rate_at(0, 1) == 1.0


def test_learning_rate_falls_linearly_over_the_last_steps():
    options = OptimiserOptions(learning_rate=4e-4, warmup_steps=0, cooldown_steps=4)
    rates = [options.learning_rate_at(step, 10) for step in range(4, 10)]
    assert rates == pytest.approx([4e-4, 4e-4, 4e-4, 3e-4, 2e-4, 1e-4])


def test_options_reach_the_optimiser():
    parameter = torch.nn.Parameter(torch.ones(1))
    options = OptimiserOptions(learning_rate=0.1, beta1=0.5, beta2=0.6, weight_decay=0.25)
    optimiser = make_optimiser(options, [parameter])
    set_learning_rate(optimiser, 0.05)
    parameter.grad = torch.zeros(1)
    optimiser.step()
    # Without a gradient AdamW only decays: 1 − lr · weight_decay.
    assert parameter.item() == pytest.approx(1 - 0.05 * 0.25)
    assert optimiser.param_groups[0]["betas"] == (0.5, 0.6)


def test_ema_is_the_weighted_sum_of_all_weights():
    options = OptimiserOptions(ema_decay=0.6)
    weights = {"a": torch.nn.Parameter(torch.zeros(2))}
    ema, expected = {"a": torch.zeros(2)}, 0.0
    for step in range(1, 30):
        weights["a"].data.fill_(float(step))
        decay = options.ema_decay_after(step)
        update_ema(ema, weights, decay)
        expected = decay * expected + (1 - decay) * step
    torch.testing.assert_close(ema["a"], torch.full((2,), expected))
    assert options.ema_decay_after(29) == 0.6
    assert options.ema_decay_after(1) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"max_grad_norm": -1.0}, "max_grad_norm"),
        ({"beta1": 1.0}, "beta1"),
        ({"beta2": -0.1}, "beta2"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"cooldown_steps": -1}, "cooldown_steps"),
        ({"weight_decay": float("inf")}, "weight_decay"),
    ],
)
def test_option_out_of_range_is_refused_by_name(changes, name):
    with pytest.raises(ValueError, match=f"optimiser.{name}"):
        OptimiserOptions(**changes).check()
