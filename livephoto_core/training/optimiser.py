"""AdamW with warm-up, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class OptimiserOptions:
    """How weights are changed.

    Args:
        learning_rate: Of AdamW, after the warm-up.
        warmup_steps: Over which the learning rate grows linearly.
        cooldown_steps: The last steps of a training, over which it falls linearly towards zero.
        beta1, beta2: Decay of AdamW's moments.
        weight_decay: Of AdamW.
        max_grad_norm: Gradients are scaled down to this norm.
        ema_decay: Of the moving average that checkpoints hold, per step; it starts lower and grows
            into this value, so that the first checkpoints are of use.
    """

    learning_rate: float = 1e-4
    warmup_steps: int = 500
    cooldown_steps: int = 0
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 1e-2
    max_grad_norm: float = 1.0
    ema_decay: float = 0.9999

    def check(self) -> None:
        """Raises ValueError naming the option that is out of range."""
        for name in ("learning_rate", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"optimiser.{name} must be above 0, got {getattr(self, name)}.")
        for name in ("beta1", "beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"optimiser.{name} must be from 0 to below 1, got {getattr(self, name)}."
                )
        for name in ("warmup_steps", "cooldown_steps", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"optimiser.{name} must be 0 or more, got {getattr(self, name)}.")

    def learning_rate_at(self, step: int, num_steps: int) -> float:
        """Learning rate of step `step` of `num_steps`, counted from 0."""
        warmup = (step + 1) / max(1, self.warmup_steps)
        cooldown = (num_steps - step) / max(1, self.cooldown_steps)
        return self.learning_rate * min(1.0, warmup, cooldown)

    def ema_decay_after(self, num_steps: int) -> float:
        """Decay of the moving average's update after the first `num_steps` steps."""
        return min(self.ema_decay, num_steps / (num_steps + 9))


def make_optimiser(
    options: OptimiserOptions, parameters: Iterable[nn.Parameter]
) -> torch.optim.AdamW:
    """AdamW; fused, because a loop over a thousand small tensors is slow."""
    return torch.optim.AdamW(
        parameters,
        lr=options.learning_rate,
        betas=(options.beta1, options.beta2),
        weight_decay=options.weight_decay,
        fused=True,
    )


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


@torch.no_grad()
def update_ema(ema: Mapping[str, Tensor], weights: Mapping[str, Tensor], decay: float) -> None:
    """Ema ← decay · ema + (1 − decay) · weights, in place."""
    for name, average in ema.items():
        average.lerp_(weights[name], 1 - decay)
