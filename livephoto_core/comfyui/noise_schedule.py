"""The noise schedule a motion checkpoint was trained with, as a MODEL patch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import comfy.model_sampling

from ..models.config import NoiseSchedule

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

_LDM_NAMES: dict[NoiseSchedule, str] = {"scaled_linear": "linear", "linear": "sqrt_linear"}


class ModelSampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """Noise prediction over a discrete schedule of betas from 0.00085 to 0.012."""

    def __init__(self, schedule: NoiseSchedule) -> None:
        super().__init__()
        self._register_schedule(
            beta_schedule=_LDM_NAMES[schedule], linear_start=0.00085, linear_end=0.012
        )


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
