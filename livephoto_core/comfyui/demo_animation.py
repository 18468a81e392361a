"""One picture, one sentence, one level: a clip by the tiny model, without a server."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .demo_model import load_demo_model
from .inversion import PriorNoise, invert_reference
from .livephoto_model import load_livephoto
from .reference import LivePhotoReference, encode_reference
from .sampling import sample_livephoto
from .text import reweight_conditioning

_INVERSION_STEPS = 25


class DemoAnimator:
    """The tiny base model with LivePhoto parts, as the nodes of workflows/demo.json use them.

    Args:
        base: File of the tiny base model.
        livephoto: Checkpoint trained on it.
    Raises:
        CheckpointError: If a file is not what it should be.
    """

    def __init__(self, base: Path, livephoto: Path) -> None:
        self._model, self._clip, self._vae, self._content_encoder = load_demo_model(base)
        self._livephoto = load_livephoto(livephoto)
        self._empty_prompt = self._encode("")

    @torch.inference_mode()
    def __call__(
        self,
        image: Tensor,
        caption: str,
        *,
        level: float,
        seed: int,
        num_steps: int,
        cfg: float,
        sampler: str,
        prior: tuple[float, float] | None = None,
    ) -> Tensor:
        """Animates a picture.

        Args:
            image: (h w 3), 0 to 1, sides multiples of 8.
            caption: What shall happen; may be empty.
            level: Motion intensity, 1 to 10.
            seed: Of the noise.
            num_steps: Denoising steps.
            cfg: Guidance scale.
            sampler: ComfyUI's name of it.
            prior: α of the first and the last frame, for prior inversion; `None` for plain noise.
        Returns:
            Frames (f h w 3), 0 to 1.
        """
        livephoto, num_frames = self._livephoto, self._livephoto.config.num_frames
        reference = encode_reference(livephoto, self._vae, image[None], self._content_encoder)
        positive, negative = (
            reweight_conditioning(livephoto, conditioning, num_frames=num_frames)[0]
            for conditioning in (self._encode(caption), self._empty_prompt)
        )
        latent = sample_livephoto(
            self._model,
            livephoto,
            reference,
            motion_intensity=level,
            num_frames=num_frames,
            positive=positive,
            negative=negative,
            seed=seed,
            num_steps=num_steps,
            cfg=cfg,
            sampler_name=sampler,
            scheduler="normal",
            noise=prior and self._prior_noise(reference, prior, seed),
        )
        return self._vae.decode(latent["samples"])[..., :3].clamp(0, 1)

    def patch_tokens(self, frames: Tensor) -> Tensor:
        """Of each frame by the tiny content encoder, (f h w 3) → (f n d)."""
        return self._content_encoder.encode(frames)

    def _prior_noise(
        self, reference: LivePhotoReference, prior: tuple[float, float], seed: int
    ) -> PriorNoise:
        inverted = invert_reference(
            self._model, reference, num_steps=_INVERSION_STEPS, conditioning=self._empty_prompt
        )
        return PriorNoise(inverted, alpha_first=prior[0], alpha_last=prior[1], seed=seed)

    def _encode(self, text: str) -> list:
        return self._clip.encode_from_tokens_scheduled(self._clip.tokenize(text))
