"""Starting points for trainings, with what they cost and what to expect of them."""

from __future__ import annotations

from dataclasses import dataclass

from ..shapes.base_model import NOISE_SCHEDULE
from .config import RunOptions, TrainingConfig
from .loss import NoiseOptions
from .optimiser import OptimiserOptions
from .parts import PartsOptions

NOT_MEASURED = "not measured yet"


@dataclass(frozen=True)
class Preset:
    """Options under a name.

    Args:
        purpose: What it is for, in a sentence.
        config: The options.
        cost: Time and hardware.
        expected_score: What an evaluation of the result should show.
    """

    purpose: str
    config: TrainingConfig
    cost: str
    expected_score: str


_SHAPES_OPTIMISER = OptimiserOptions(
    learning_rate=1e-3, warmup_steps=100, cooldown_steps=1500, weight_decay=0.0, ema_decay=0.998
)
_SHAPES_RUN = RunOptions(
    steps=6000, batch_size=16, num_threads=1, sample_every=1000, sample_cfg=1.5
)

PRESETS = {
    "webvid-256": Preset(
        purpose="The paper's recipe on real videos: 16 frames of 256×256, SD-1.5.",
        config=TrainingConfig(
            optimiser=OptimiserOptions(learning_rate=1e-4, warmup_steps=1000),
            run=RunOptions(
                steps=100_000,
                batch_size=8,
                accumulation=4,
                recompute=True,
                log_every=50,
                save_every=1000,
                sample_every=1000,
                num_threads=8,
            ),
        ),
        cost=(
            "14.1 TFLOP a clip, computed: with 8 GPUs 256 clips a step, 3.6e20 FLOP in all. The "
            "paper used 8 A100: at 35 % of their bf16 peak five days, computed. "
            f"Time: {NOT_MEASURED}"
        ),
        expected_score=(
            "published for the paper's model: DINO 90.8, CLIP 95.2 between adjacent frames of "
            f"WebVid's validation set (table 2). With this trainer: {NOT_MEASURED}"
        ),
    ),
    "shapes": Preset(
        purpose=(
            "The shapes world, with the training spent where the sentence decides on the motion: "
            "at high noise, and with the text seldom dropped."
        ),
        config=TrainingConfig(
            noise=NoiseOptions(
                schedule=NOISE_SCHEDULE, timestep_power=1.5, text_drop=0.2, weight_exponent=0.5
            ),
            parts=PartsOptions(text_adapters=True),
            optimiser=_SHAPES_OPTIMISER,
            run=_SHAPES_RUN,
        ),
        cost=(
            "96,000 clips of 64×64: 2 h 30 min on 2 CPU cores as two processes of "
            "run.batch_size=8 (11 clips/s); on an H200 610 clips/s with run.batch_size=256"
        ),
        expected_score=(
            "after 8,000 clips from nothing, in an earlier state of the world: motion 40 %, level "
            "0.49, first frame 25 dB, identity 61 %. The shipped file, after 28,800 clips by an "
            "earlier recipe, 396,352 by this one and 19,200 with noise.rollout_share=0.6: motion "
            "100 %, level 0.84, first frame 34 dB, identity 96 %"
        ),
    ),
    "shapes-paper": Preset(
        purpose=(
            "The shapes world by the paper's recipe: all timesteps alike, half of the text dropped."
        ),
        config=TrainingConfig(
            noise=NoiseOptions(schedule=NOISE_SCHEDULE),
            optimiser=_SHAPES_OPTIMISER,
            run=_SHAPES_RUN,
        ),
        cost=(
            "that of `shapes`, which has text adapters besides: 96,000 clips of 64×64, at most "
            "2 h 30 min on 2 CPU cores as two processes of run.batch_size=8"
        ),
        expected_score=(
            "after 8,000 clips from nothing: motion 20 %, where `shapes` has 40 %; more: "
            f"{NOT_MEASURED}"
        ),
    ),
}


def find_preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ValueError: If there is none.
    """
    if name not in PRESETS:
        raise ValueError(f"--preset must be one of {', '.join(PRESETS)}, got {name!r}.")
    return PRESETS[name]
