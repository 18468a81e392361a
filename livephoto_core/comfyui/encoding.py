"""Clips as the base model sees them: VAE latents and text tokens of a ComfyUI checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_detection
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch
from torch import Tensor

from ..file_digest import file_sha256


@dataclass(frozen=True, eq=False)
class CheckpointEncoder:
    """The frozen encoders of one base checkpoint.

    Args:
        name: Of the checkpoint.
        sha256: Of the checkpoint's file.
        clip: ComfyUI's CLIP.
        vae: ComfyUI's VAE.
        latent_format: ComfyUI's description of the model's latents, for their scale.
    """

    name: str
    sha256: str
    clip: Any
    vae: Any
    latent_format: Any

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        """The mean of each frame's latent distribution, in the UNet's scale.

        ComfyUI makes smaller batches of it where memory is short.

        Args:
            images: (b h w 3) in 0…1, sides multiples of 8.
        Returns:
            (b c h/8 w/8), float32, on the CPU.
        """
        latents = self.vae.encode(images)
        return self.latent_format.process_in(latents.float().cpu())

    @torch.inference_mode()
    def encode_text(self, caption: str) -> Tensor:
        """Text tokens of a caption, taken literally.

        Unlike in a prompt, brackets carry no weights: a caption was not written for ComfyUI.

        Args:
            caption: Any length; 77 tokens for every 75 it has.
        Returns:
            (n d), float32, on the CPU.
        """
        tokens = self.clip.tokenize(caption, disable_weights=True)
        return self.clip.encode_from_tokens(tokens)[0].float().cpu()


def load_checkpoint_encoder(path: str | Path) -> CheckpointEncoder:
    """Reads the VAE and the text encoder of an SD-1.5 checkpoint; its UNet stays on disk.

    Raises:
        ValueError: If the file is missing, of another family, or lacks a VAE or text encoder.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(
            f"--checkpoint: {path} is not there. Give the path of an SD-1.5 checkpoint."
        )
    weights, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    latent_format = sd15_latent_format(path.name, weights)
    loaded: Any = comfy.sd.load_state_dict_guess_config(
        weights, output_model=False, metadata=metadata
    )
    _, clip, vae, _ = loaded
    # ComfyUI returns a VAE without a model where the file has none.
    lacking = "text encoder" if clip is None else "VAE" if vae.first_stage_model is None else None
    if lacking:
        raise ValueError(
            f"--checkpoint: {path.name} lacks the {lacking}. Give a full checkpoint, as "
            "Save Checkpoint writes it."
        )
    return CheckpointEncoder(path.name, file_sha256(path), clip, vae, latent_format)


def sd15_latent_format(name: str, weights: dict[str, Tensor]) -> Any:
    """ComfyUI's description of the latents of an SD-1.5 checkpoint.

    Raises:
        ValueError: If the weights are those of another model; the message names `name`.
    """
    prefix = comfy.model_detection.unet_prefix_from_state_dict(weights)
    config = comfy.model_detection.model_config_from_unet(weights, prefix)
    if type(config) is not comfy.supported_models.SD15 or config.unet_config["in_channels"] != 4:
        found = "no full checkpoint" if config is None else f"a {type(config).__name__} model"
        if isinstance(config, comfy.supported_models.SD15):
            found = f"an SD-1.5 model with {config.unet_config['in_channels']} input channels"
        raise ValueError(
            f"--checkpoint: {name} is {found}; LivePhoto is trained on the text-to-image SD-1.5."
        )
    return config.latent_format
