"""Options of each step with the values that the shipped weights are meant to be made with."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from .loop import LoopOptions


@dataclass(frozen=True)
class TextToImageOptions:
    """What the base model's training adds to the loop.

    Args:
        text_drop: Share of sentences replaced by the empty prompt, for guidance.
        word_drop: Share of tokens replaced by the unknown one, so that words outside the world's
            vocabulary do not disturb the others.
        timestep_power: Timesteps are 1000·uᵖ for uniform u; below 1 favours the high noise at which
            small latents get their layout.
    """

    text_drop: float = 0.1
    word_drop: float = 0.03
    timestep_power: float = 0.75

    def __post_init__(self) -> None:
        for name in ("text_drop", "word_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, got {getattr(self, name)}.")
        if self.timestep_power <= 0:
            raise ValueError(f"timestep_power must be above 0, got {self.timestep_power}.")


PRESETS = MappingProxyType(
    {
        "autoencoder": LoopOptions(num_steps=4500, batch_size=16, learning_rate=1e-3),
        "decoder": LoopOptions(num_steps=2000, batch_size=16, learning_rate=5e-4, seed=1),
        "content_encoder": LoopOptions(num_steps=1200, batch_size=32, learning_rate=5e-4),
        "text_to_image": LoopOptions(
            num_steps=3600, batch_size=64, learning_rate=6e-4, warmup_steps=300
        ),
    }
)
"""By the name of the step."""

NUM_PICTURES = 40_960
"""Pictures that the base model learns from: 20 MB of latents."""
