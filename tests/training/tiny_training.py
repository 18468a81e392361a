"""A training small enough for a unit test, with clips that are random but told apart easily."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from comfy.model_patcher import ModelPatcher
from transformers import Dinov2Config, Dinov2Model

from livephoto_core.models.config import UNetLayout
from livephoto_core.models.content_encoder import dinov2_name
from livephoto_core.training.config import TrainingConfig, set_options
from livephoto_core.training.data import ClipFacts, Clips
from livephoto_core.training.ingredients import Ingredients
from tests.comfyui.sd15_checkpoint import small_model

CONTEXT_DIM = 32
LAYOUT = UNetLayout(
    block_channels=(32, 64), layers_per_block=1, attention_levels=(0,), context_dim=CONTEXT_DIM
)
FRAMES, SIZE = 4, 8
EDGES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)

QUIET = (
    "run.bf16=false",
    "run.sample_every=0",
    "run.sensitivity_every=0",
    "run.num_threads=0",
    "run.log_every=1",
    "optimiser.warmup_steps=0",
)


def facts() -> ClipFacts:
    return ClipFacts(
        num_frames=FRAMES,
        size_px=(SIZE * 8, SIZE * 8),
        latent_channels=4,
        context_dim=CONTEXT_DIM,
        ssim_edges=EDGES,
        empty_text=torch.zeros(77, CONTEXT_DIM),
    )


class RandomClips:
    """An endless source that repeats `num_clips` clips; others with another `first`."""

    def __init__(
        self,
        num_clips: int = 4,
        *,
        first: int = 0,
        with_references: bool = True,
        clip_facts: ClipFacts | None = None,
    ) -> None:
        self.facts = clip_facts or facts()
        self._num_clips, self._first = num_clips, first
        self._with_references = with_references

    def load(self, numbers: Sequence[int]) -> Clips:
        made = [self._make(self._first + number % self._num_clips) for number in numbers]
        latents, text, references = (torch.stack(tensors) for tensors in zip(*made, strict=True))
        return Clips(
            latents=latents,
            text=text,
            references=references if self._with_references else None,
            ssim=tuple((number % self._num_clips + 0.5) / self._num_clips for number in numbers),
            captions=tuple(f"clip {number % self._num_clips}" for number in numbers),
        )

    def _make(self, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        generator, (width, height) = torch.Generator().manual_seed(number), self.facts.size_px
        frames, channels = self.facts.num_frames, self.facts.latent_channels
        return (
            torch.randn(frames, channels, height // 8, width // 8, generator=generator),
            torch.randn(self.facts.empty_text.shape, generator=generator),
            torch.rand(height, width, 3, generator=generator),
        )


def tiny_base() -> ModelPatcher:
    """A MODEL of two levels with random weights."""
    return small_model(
        "SD15",
        model_channels=32,
        channel_mult=[1, 2],
        num_res_blocks=[1, 1],
        transformer_depth=[1, 0],
        transformer_depth_output=[1, 1, 0, 0],
        context_dim=CONTEXT_DIM,
    )


def tiny_dinov2() -> tuple[str, Dinov2Model]:
    """Name and frozen encoder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = Dinov2Config(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=1,
            image_size=56,
            patch_size=14,
            use_mask_token=False,
        )
        model = Dinov2Model(config).eval().requires_grad_(False)
    return dinov2_name(32, 1), model


def ingredients(clips=None, **changes) -> Ingredients:
    """All parts of the paper, unless changed."""
    return Ingredients(
        **{
            "model": tiny_base(),
            "clips": clips or RandomClips(),
            "encoder": tiny_dinov2(),
            **changes,
        }
    )


def options(folder: Path, *assignments: str) -> TrainingConfig:
    """Options of a quiet training in fp32 that logs every step."""
    given = [*QUIET, f"files.output={folder}", *assignments]
    return set_options(TrainingConfig(), given)
