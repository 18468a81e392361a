"""The loss: mean squared error on the noise of clips (LivePhoto, section 4.1).

A clip's loss is ‖ε̂ − ε‖² / ᾱᵏ, with k = `noise.weight_exponent`. At k = 0 it is the usual one (Ho
et al., 2020, eq. 14), which the paper takes. At k = 1 it is ‖v̂ − v‖², v = √ᾱ·ε − √(1−ᾱ)·x
(Salimans & Ho, 2022, section 4). In terms of the clip itself the usual loss is ‖x̂ − x‖² · SNR: it
hardly asks for the clip at high noise, where its motion is decided.

With `noise.rollout_share` some clips are noised not from themselves but from what the network makes
of them at a higher noise, as a sampler does, and the network shall still find the clip (scheduled
sampling; Bengio et al., 2015). It learns to mend its own errors; else it only sees true clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..diffusion.schedules import NUM_TIMESTEPS, schedule_alphas_cumprod
from ..models.config import NoiseSchedule
from ..models.content_encoder import encode_patch_tokens
from ..models.input_conditioning import assemble_channels
from ..models.text_reweighting import apply_weights
from ..motion_intensity import motion_level
from .data import ClipFacts, Clips

if TYPE_CHECKING:
    from transformers import Dinov2Model

    from ..comfyui.training_unet import TrainingUNet


_ROLLOUT_LOWEST = 150
"""Below, errors of a prediction would count many times in terms of noise."""

_ROLLOUT_GAP = 40, 400
"""Timesteps between a prediction and the noise it gets: from a small step of a sampler on."""


@dataclass(frozen=True)
class NoiseOptions:
    """How noise is added and text dropped.

    Args:
        timestep_low, timestep_high: Timesteps are drawn from low (included) to high (excluded),
            within 0 to 1000. Small latents lose their layout, and so their motion, only at high
            noise: a high `timestep_low` spends the training where motion is decided.
        timestep_power: 1 draws evenly; the density grows as the (power − 1)-th power of the height
            above low, so that 2 favours high noise linearly.
        text_drop: Share of clips that are trained with the empty text, 0 to 1.
        schedule: Noise schedule; none takes that of `files.init_from`, else Stable Diffusion's.
        weight_exponent: How much more high noise counts, 0 (as in the paper) to 1; see this module.
        rollout_share: Share of clips that are noised from the network's own prediction of them, 0
            (as in the paper) to 1; see this module. Takes a pass more through the network for each.
    """

    timestep_low: int = 0
    timestep_high: int = NUM_TIMESTEPS
    timestep_power: float = 1.0
    text_drop: float = 0.5
    schedule: NoiseSchedule | None = None
    weight_exponent: float = 0.0
    rollout_share: float = 0.0

    def check(self) -> None:
        """Raises ValueError naming the option that is out of range."""
        if not 0 <= self.timestep_low < self.timestep_high <= NUM_TIMESTEPS:
            raise ValueError(
                "noise.timestep_low and noise.timestep_high must satisfy 0 ≤ low < high ≤ "
                f"{NUM_TIMESTEPS}, got {self.timestep_low} and {self.timestep_high}."
            )
        if not 0 < self.timestep_power <= 100:
            raise ValueError(
                f"noise.timestep_power must be above 0 and at most 100, got {self.timestep_power}."
            )
        for name in ("text_drop", "weight_exponent", "rollout_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"noise.{name} must be from 0 to 1, got {getattr(self, name)}.")


@dataclass(frozen=True, eq=False)
class Rollout:
    """From where the network predicts some clips of a batch, to be noised from that.

    Args:
        clips: Which ones, (n), integers, rising.
        noise: (n f c h w).
        timesteps: Above those that they are noised to, at most 999, (n), integers.
    """

    clips: Tensor
    noise: Tensor
    timesteps: Tensor


@dataclass(frozen=True, eq=False)
class Draws:
    """All that is random about a batch.

    Args:
        noise: ε, (b f c h w).
        timesteps: (b), integers.
        is_dropped: Whether the clip gets the empty text, (b), bool.
        rollout: For clips that are noised from a prediction of them, if there are any.
    """

    noise: Tensor
    timesteps: Tensor
    is_dropped: Tensor
    rollout: Rollout | None = None

    def to(self, device: torch.device) -> Draws:
        """The same draws on another device."""
        rollout = self.rollout
        if rollout is not None:
            tensors = rollout.clips, rollout.noise, rollout.timesteps
            rollout = Rollout(*(tensor.to(device) for tensor in tensors))
        noise, timesteps = self.noise.to(device), self.timesteps.to(device)
        return Draws(noise, timesteps, self.is_dropped.to(device), rollout)


def draw(
    options: NoiseOptions, *, seed: int, numbers: Sequence[int], shape: Sequence[int]
) -> Draws:
    """Noise, timestep and text drop of clips, each from a generator of its own.

    A clip's number grows through the whole training and does not know which process works on it, so
    any split of a batch gives the same draws.

    Args:
        options: Distributions.
        seed: Of the training.
        numbers: Of the clips.
        shape: Of one clip's latents, (f c h w).
    """
    noise = np.empty((len(numbers), *shape), dtype=np.float32)
    heights, chances = np.empty(len(numbers)), np.empty(len(numbers))
    generators = [np.random.default_rng([seed, number]) for number in numbers]
    for index, random in enumerate(generators):
        heights[index], chances[index] = random.random(2)
        random.standard_normal(dtype=np.float32, out=noise[index])
    # The inverse of the distribution function xᵖ.
    heights = heights ** (1 / options.timestep_power)
    span = options.timestep_high - options.timestep_low
    timesteps = options.timestep_low + np.minimum(heights * span, span - 1).astype(np.int64)
    return Draws(
        noise=torch.from_numpy(noise),
        timesteps=torch.from_numpy(timesteps),
        is_dropped=torch.from_numpy(chances < options.text_drop),
        rollout=_draw_rollout(options, generators, timesteps, shape),
    )


def _draw_rollout(
    options: NoiseOptions,
    generators: Sequence[np.random.Generator],
    timesteps: np.ndarray,
    shape: Sequence[int],
) -> Rollout | None:
    chances = np.array([random.random(2) for random in generators])
    chosen = (chances[:, 0] < options.rollout_share) & (timesteps >= _ROLLOUT_LOWEST)
    if not chosen.any():
        return None
    clips, (nearest, farthest) = np.flatnonzero(chosen), _ROLLOUT_GAP
    gaps = nearest + (chances[clips, 1] * (farthest - nearest)).astype(np.int64)
    noise = [generators[i].standard_normal(shape, dtype=np.float32) for i in clips.tolist()]
    return Rollout(
        clips=torch.from_numpy(clips),
        noise=torch.from_numpy(np.stack(noise)),
        timesteps=torch.from_numpy(np.minimum(timesteps[clips] + gaps, NUM_TIMESTEPS - 1)),
    )


class ClipLoss(nn.Module):
    """The training loss of a batch of clips; its submodules are all that a training needs.

    Args:
        unet: Frozen base and the parts that train.
        encoder: Frozen DINOv2; needed if the parts have content tokens.
        facts: Level edges and empty text.
        bf16: Whether to compute in bf16 (autocast); the loss and the weights that train stay
            fp32.
        weight_exponent: See `NoiseOptions`.
    """

    alphas_cumprod: Tensor
    empty_text: Tensor

    def __init__(
        self,
        unet: TrainingUNet,
        *,
        encoder: Dinov2Model | None,
        facts: ClipFacts,
        bf16: bool = False,
        weight_exponent: float = 0.0,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.encoder = encoder
        self.ssim_edges = facts.ssim_edges
        self.bf16, self.weight_exponent = bf16, weight_exponent
        alphas_cumprod = schedule_alphas_cumprod(unet.parts.config.noise_schedule)
        self.register_buffer("alphas_cumprod", alphas_cumprod, persistent=False)
        self.register_buffer("empty_text", facts.empty_text.clone(), persistent=False)

    def forward(self, clips: Clips, draws: Draws) -> Tensor:
        """Weighted mean squared error of each clip, (b), float32."""
        text = self._with_dropped_text(clips.text, draws.is_dropped)
        alphas = self.alphas_cumprod[draws.timesteps]
        target = draws.noise
        start = None
        if draws.rollout is not None:
            start = self._rolled_out(clips, draws, draws.rollout, text)
            # The noise that leads from what the network sees back to the clip.
            ratio = (alphas / (1 - alphas)).sqrt().float().view(-1, 1, 1, 1, 1)
            target = target + ratio * (start - clips.latents)
        predicted = self.predict(clips, draws, text, start=start)
        error = (predicted - target).square().mean(dim=(1, 2, 3, 4))
        return error / alphas.float() ** self.weight_exponent

    def predict(
        self, clips: Clips, draws: Draws, text: Tensor, *, start: Tensor | None = None
    ) -> Tensor:
        """The noise that the network sees in clips, (b f c h w), float32.

        Args:
            clips: The clips.
            draws: Noise and timesteps.
            text: Tokens, (b n d).
            start: What the noise is added to, (b f c h w); by default the clips.
        """
        noisy = self._noisy(clips.latents if start is None else start, draws)
        device = clips.latents.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            parts, num_frames = self.unet.parts, clips.latents.shape[1]
            if parts.text_reweighting is not None:
                text = apply_weights(text, parts.text_reweighting(text, num_frames))
            return self.unet(
                noisy,
                draws.timesteps,
                text,
                self._channels(clips),
                patch_tokens(self.encoder, clips),
            )

    @torch.no_grad()
    def _rolled_out(self, clips: Clips, draws: Draws, rollout: Rollout, text: Tensor) -> Tensor:
        """The clips, (b f c h w), some of them as the network predicts them at a higher noise."""
        chosen = clips.at(rollout.clips)
        higher = Draws(rollout.noise, rollout.timesteps, draws.is_dropped[rollout.clips])
        noise = self.predict(chosen, higher, text[rollout.clips])
        alphas = self.alphas_cumprod[rollout.timesteps].view(-1, 1, 1, 1, 1)
        # The signal is what is left of the noisy latents without the noise.
        seen = self._noisy(chosen.latents, higher) - (1 - alphas).sqrt().float() * noise
        start = clips.latents.clone()
        start[rollout.clips] = seen / alphas.sqrt().float()
        return start

    @torch.no_grad()
    def text_sensitivity(self, clips: Clips, draws: Draws) -> float:
        """How much the prediction changes with the sentence, all else equal.

        RMS(ε(text) − ε(another text)) / RMS(ε(text)); the other text is the next clip's caption, in
        a batch of one the empty text. Near zero the network ignores the text, whatever the loss
        says.
        """
        text = clips.text
        is_alone = text.shape[0] == 1
        other = self._empty_like(text) if is_alone else text.roll(1, dims=0)
        predicted = self.predict(clips, draws, text)
        change = self.predict(clips, draws, other) - predicted
        return (change.square().mean() / predicted.square().mean()).sqrt().item()

    def _noisy(self, latents: Tensor, draws: Draws) -> Tensor:
        # √ᾱ·x + √(1−ᾱ)·ε, the coefficients in float64: near t = 0 fp32 loses 1 − ᾱ.
        alphas = self.alphas_cumprod[draws.timesteps].view(-1, 1, 1, 1, 1)
        signal, noise = alphas.sqrt().float(), (1 - alphas).sqrt().float()
        return signal * latents + noise * draws.noise

    def _channels(self, clips: Clips) -> Tensor | None:
        config = self.unet.parts.config.input_conditioning
        if config is None:
            return None
        channels = [
            assemble_channels(
                config,
                reference=latents[:1],
                level=motion_level(ssim, self.ssim_edges),
                num_frames=len(latents),
            )
            for latents, ssim in zip(clips.latents, clips.ssim, strict=True)
        ]
        return torch.stack(channels)

    def _with_dropped_text(self, text: Tensor, is_dropped: Tensor) -> Tensor:
        return torch.where(is_dropped.view(-1, 1, 1), self._empty_like(text), text)

    def _empty_like(self, text: Tensor) -> Tensor:
        return self.empty_text.repeat(text.shape[1] // len(self.empty_text), 1).expand_as(text)


def patch_tokens(encoder: Dinov2Model | None, clips: Clips) -> Tensor | None:
    """DINOv2's tokens of the clips' references, (b n d), float32; none without either."""
    if encoder is None or clips.references is None:
        return None
    return encode_patch_tokens(encoder, clips.references).float()
