"""DDIM inversion of the reference with the base UNet, as starting noise for any sampler."""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from torch import Tensor

from ..diffusion.inversion import ddim_inversion
from ..diffusion.prior import mix_prior
from ..models.config import NoiseSchedule
from .compatibility import ATTACHMENT, check_base_model, check_text_width
from .noise_schedule import ModelSampling
from .passing_clone import for_hooks, passing

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from .reference import LivePhotoReference


_SCHEDULES: dict[str, NoiseSchedule] = {"linear": "scaled_linear", "sqrt_linear": "linear"}
"""Beta schedules by ComfyUI's names; all of SD-1.5 has the first, the tiny base the second."""


_GUIDANCE = (
    "sampler_cfg_function",
    "sampler_pre_cfg_function",
    "sampler_post_cfg_function",
    "sampler_calc_cond_batch_function",
)
"""Options by which nodes such as PAG and SAG steer a sampling; an inversion has no guidance."""

_CACHES = ("easycache", "lazycache")
"""Wrappers that leave out steps of a video. A photo's steps cost little, and all of them count."""


class InversionSampler(comfy.samplers.Sampler):
    """Runs DDIM backwards, from the clean latent to noise, inside ComfyUI's sampling."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def sample(
        self,
        model_wrap: Any,
        _sigmas: Tensor,
        extra_args: dict[str, Any],
        _callback: Any,
        _noise: Tensor,
        latent_image: Tensor,
        *_: Any,
    ) -> Tensor:
        """Inverts `latent_image` (1 c h w); called by ComfyUI with its samplers' arguments."""
        model_sampling = model_wrap.inner_model.model_sampling
        progress = comfy.utils.ProgressBar(self.num_steps)

        def predict_noise(latents: Tensor, timestep: int) -> Tensor:
            # ComfyUI's models take x = z·√(σ²+1) and return z₀; this undoes both.
            comfy.model_management.throw_exception_if_processing_interrupted()
            sigma = model_sampling.sigmas[timestep].to(latents)
            scaled = latents * (sigma**2 + 1) ** 0.5
            denoised = model_wrap(scaled, sigma.expand(latents.shape[0]), **extra_args)
            return (scaled - denoised) / sigma

        return ddim_inversion(
            predict_noise,
            latent_image.float(),
            alphas_cumprod=1 / (model_sampling.sigmas.float() ** 2 + 1),
            num_steps=self.num_steps,
            progress=progress.update_absolute,
        )


@dataclass(frozen=True, eq=False)
class Inversion:
    """One inversion made, and what it was made with."""

    latent: Tensor
    num_steps: int
    conditioning: list[Any] | None
    result: Tensor

    def is_of(self, latent: Tensor, num_steps: int, conditioning: list[Any] | None) -> bool:
        """Whether it was made with these.

        The conditioning must be the same object: ComfyUI's cache keeps it as long as nothing
        before it changes.
        """
        return (
            self.num_steps == num_steps
            and self.conditioning is conditioning
            and torch.equal(self.latent, latent)
        )


_made: WeakKeyDictionary[Any, deque[Inversion]] = WeakKeyDictionary()
"""The last inversions by model, so that another seed or motion file repeats none. An entry goes
when its model does."""
_REMEMBERED = 8


def invert_reference(
    model: ModelPatcher,
    reference: LivePhotoReference,
    *,
    num_steps: int,
    conditioning: list[Any] | None = None,
) -> Tensor:
    """Inv(r₀) of LivePhoto's eq. 3; the last ones of each model are remembered.

    Args:
        model: The base MODEL, before ApplyLivePhoto.
        reference: The encoded photo.
        num_steps: Steps of the inversion.
        conditioning: The empty prompt, encoded. Without it the text tokens are zero, which
            SD-1.5 takes as no text too, though it was not trained so.
    Returns:
        Unit-variance noise, (1 c h w), fp32, on the CPU.
    Raises:
        ValueError: If LivePhoto is already applied to `model`, it is no SD-1.5 model, or the
            conditioning is another text encoder's or a video's.
    """
    if ATTACHMENT in model.attachments:
        raise ValueError(
            "model: Prior Inversion inverts with the base model alone. Connect the model "
            "from before Apply LivePhoto."
        )
    check_base_model(model)
    made = _made.setdefault(model, deque(maxlen=_REMEMBERED))
    for inversion in made:
        if inversion.is_of(reference.latent, num_steps, conditioning):
            return inversion.result
    result = _invert(model, reference.latent, num_steps, conditioning)
    # Hooks and ControlNets of a conditioning would stay in memory with it.
    if not any({"hooks", "control"} & options.keys() for _, options in conditioning or []):
        made.append(Inversion(reference.latent, num_steps, conditioning, result))
    return result


def _invert(
    model: ModelPatcher, latent: Tensor, num_steps: int, conditioning: list[Any] | None
) -> Tensor:
    context_dim = model.model.model_config.unet_config["context_dim"]
    if conditioning is None:
        conditioning = [[torch.zeros(1, 77, context_dim), {}]]
    with passing(for_hooks(model, conditioning).clone()) as plain:
        # Also for a model that a node has set to LCM, say, whose denoised latents are no x₀.
        plain.add_object_patch("model_sampling", ModelSampling(_schedule_of(model)))
        for name in _GUIDANCE:
            plain.model_options.pop(name, None)
        for kind, cache in itertools.product(plain.wrappers, _CACHES):
            plain.remove_wrappers_with_key(kind, cache)
        guider = comfy.samplers.CFGGuider(plain)
        guider.inner_set_conds({"positive": conditioning})
        entries = guider.original_conds["positive"]
        check_text_width("conditioning", entries, context_dim)
        if any(entry["cross_attn"].shape[0] > 1 for entry in entries if "cross_attn" in entry):
            raise ValueError(
                "conditioning: its text differs from frame to frame, but a photo is a single one. "
                "Connect CLIP Text Encode, not Text Reweight."
            )
        model_sampling: Any = plain.get_model_object("model_sampling")
        inverted = guider.sample(
            torch.zeros_like(latent),
            latent,
            InversionSampler(num_steps),
            model_sampling.sigmas[[0, -1]].clone(),
            disable_pbar=True,
            seed=0,  # Of no noise of ours; the context windows' FreeNoise wants one.
        )
    # The guider has turned the result into a VAE latent; unit variance is what it was before.
    return model.model.process_latent_in(inverted.float().cpu())


def _schedule_of(model: ModelPatcher) -> NoiseSchedule:
    """The schedule that the base itself was trained with, whatever nodes have patched into it."""
    beta_schedule = model.model.model_config.sampling_settings.get("beta_schedule", "linear")
    return _SCHEDULES[beta_schedule]


class PriorNoise:
    """NOISE for SamplerCustomAdvanced and LivePhotoSampler: Gaussian noise with a prior mixed in.

    Args:
        inverted: Inv(r₀), (1 c h w).
        alpha_first, alpha_last: Share of the inversion in the first and the last frame.
        seed: Of the Gaussian noise.
    """

    def __init__(
        self, inverted: Tensor, *, alpha_first: float, alpha_last: float, seed: int
    ) -> None:
        self.inverted = inverted
        self.alpha_first = alpha_first
        self.alpha_last = alpha_last
        self.seed = seed

    def generate_noise(self, input_latent: dict[str, Any]) -> Tensor:
        """Noise for a LATENT, (f c h w).

        Raises:
            ValueError: If the latent is not as large as the inverted photo.
        """
        samples = input_latent["samples"]
        if samples.shape[1:] != self.inverted.shape[1:]:
            raise ValueError(
                f"noise: the photo was inverted at {_size(self.inverted)} pixels, the video is "
                f"{_size(samples)}. Use the size of Encode Reference for both."
            )
        batch_index = input_latent.get("batch_index")
        noise: Any = comfy.sample.prepare_noise(samples, self.seed, batch_index)
        return mix_prior(
            self.inverted, noise, alpha_first=self.alpha_first, alpha_last=self.alpha_last
        )


def _size(latent: Tensor) -> str:
    return f"{latent.shape[-1] * 8}×{latent.shape[-2] * 8}"
