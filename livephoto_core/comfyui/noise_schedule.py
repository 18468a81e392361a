"""The noise schedule a motion checkpoint was trained with, as a MODEL patch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import comfy.model_sampling
from torch import Tensor

from ..diffusion.schedules import schedule_sigmas
from ..models.config import NoiseSchedule

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher


class ModelSampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """Noise prediction over the σ of a schedule, which are plain attributes, not buffers.

    Under dynamic VRAM ComfyUI backs up the buffers of a model by name and writes them back after it
    has swapped object patches: σ of the base's `model_sampling` would land in this one, and this
    one's in the user's model for good.
    """

    def __init__(self, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.set_sigmas(schedule_sigmas(schedule))

    def set_sigmas(self, sigmas: Tensor) -> None:
        """Takes the σ of all timesteps, (t,), rising."""
        self.sigmas = sigmas.float()
        self.log_sigmas = sigmas.log().float()

    def timestep(self, sigma: Tensor) -> Tensor:
        """The timestep whose σ is nearest."""
        # Looked up where sigma is: a table on the CPU would make it wait for the GPU, in each call.
        self.log_sigmas = self.log_sigmas.to(sigma.device)
        return super().timestep(sigma)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Ignores what ComfyUI writes back; see the class."""


def set_noise_schedule(model: ModelPatcher, schedule: NoiseSchedule) -> None:
    """Patches the schedule into `model` (a clone of the user's), unless it is Stable Diffusion's.

    A `model_sampling` that a node before has set (ModelSamplingDiscrete for LCM, for example) is
    the artist's explicit wish and stays.
    """
    if schedule == "scaled_linear":
        return
    if "model_sampling" in model.object_patches:
        logging.getLogger(__name__).info(
            "The model already carries a noise schedule of its own; the motion checkpoint's "
            "(%s betas) is not applied.",
            schedule,
        )
        return
    model.add_object_patch("model_sampling", ModelSampling(schedule))
