"""Sample videos during a training, made as a user of the checkpoint would make them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..comfyui.livephoto_model import LivePhotoModel, livephoto_from_weights
from ..comfyui.reference import LivePhotoReference
from ..comfyui.sampling import sample_livephoto
from ..comfyui.text import reweight_conditioning
from ..comfyui.training_unet import unload_models
from ..motion_intensity import motion_level
from .data import Clips, ClipSource
from .ingredients import Snapshot
from .loss import patch_tokens

if TYPE_CHECKING:
    from transformers import Dinov2Model

    from ..comfyui.training_unet import ModelPatcher

FPS = 8


class SampleVideos:
    """Writes `samples/step-….webp`: for a few clips the clip itself, and beside it the sample.

    Args:
        model: The base MODEL.
        clips: Its first clips, which are trained on too, give reference, caption and level.
        vae: ComfyUI VAE of the base.
        cfg: Guidance scale.
        encoder: DINOv2, where the checkpoint has content tokens.
        bf16: Whether to sample in bf16 (autocast), as the training computes: its MODEL is in fp32,
            and all other processes wait.
        num_clips: How many, one below the other.
        num_steps: Denoising steps.
    """

    def __init__(
        self,
        model: ModelPatcher,
        clips: ClipSource,
        *,
        vae: Any,
        cfg: float,
        encoder: Dinov2Model | None = None,
        bf16: bool = False,
        num_clips: int = 4,
        num_steps: int = 25,
    ) -> None:
        self._model, self._clips, self._encoder, self._vae = model, clips, encoder, vae
        self._num_clips, self._num_steps, self._cfg = num_clips, num_steps, cfg
        self._bf16 = bf16

    # Without it ComfyUI's VAE would keep the graph of every frame; inference_mode would make the
    # training's own weights inference tensors where ComfyUI moves them.
    @torch.no_grad()
    def __call__(self, snapshot: Snapshot) -> None:
        """Samples with the averaged weights of a training; see `MakeSamples`."""
        livephoto = livephoto_from_weights("sample", snapshot.config, dict(snapshot.weights))
        try:
            rows = [self._row(livephoto, number) for number in range(self._num_clips)]
        finally:
            unload_models()
        folder = snapshot.folder / "samples"
        folder.mkdir(exist_ok=True)
        write_animation(folder / f"step-{snapshot.step:08d}.webp", torch.cat(rows, dim=1))

    def _row(self, livephoto: LivePhotoModel, number: int) -> Tensor:
        """Clip and sample side by side, (f h 2w 3)."""
        clips = self._clips.load([number])
        latents = self._model.model.process_latent_out(clips.latents[0])
        sampled = self._sample(livephoto, clips, latents[:1], seed=number)
        return torch.cat([self._images(latents), self._images(sampled)], dim=2)

    def _sample(
        self, livephoto: LivePhotoModel, clips: Clips, latent: Tensor, *, seed: int
    ) -> Tensor:
        num_frames, facts = clips.latents.shape[1], self._clips.facts
        tokens = patch_tokens(self._encoder, clips)
        reference = LivePhotoReference(
            latent=latent, patch_tokens=None if tokens is None else tokens.cpu()
        )
        level = motion_level(clips.ssim[0], facts.ssim_edges)
        texts = [clips.text, facts.empty_text.unsqueeze(0)]
        positive, negative = (
            reweight_conditioning(livephoto, [[text, {}]], num_frames=num_frames)[0]
            for text in texts
        )
        device = livephoto.patcher.load_device
        # Without its cache, a second UNet in memory where ComfyUI's weights may want gradients.
        autocast = torch.autocast(
            device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=False
        )
        with autocast:
            result = sample_livephoto(
                self._model,
                livephoto,
                reference,
                motion_intensity=level,
                num_frames=num_frames,
                positive=positive,
                negative=negative,
                seed=seed,
                num_steps=self._num_steps,
                cfg=self._cfg,
                sampler_name="ddim",
                scheduler="normal",
            )
        return result["samples"]

    def _images(self, latents: Tensor) -> Tensor:
        """Frames (f h w 3), 0 to 1, of latents (f c h w)."""
        return self._vae.decode(latents)[..., :3].cpu().clamp(0, 1)


def write_animation(path: Path, images: Tensor, fps: int = FPS) -> None:
    """Writes an endless animation, as WebP or APNG by the file's name.

    Args:
        path: Ends in .webp or .png.
        images: (f h w 3), 0 to 1.
        fps: Frames per second.
    """
    values = (images * 255).round().to(torch.uint8).numpy()
    first, *others = (Image.fromarray(np.ascontiguousarray(frame)) for frame in values)
    first.save(path, save_all=True, append_images=others, duration=1000 // fps, loop=0)
