"""The photo, fitted and encoded once for all that follows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import comfy.utils
from torch import Tensor
from torch.nn import functional as F

from .compatibility import check_content_encoder, check_vae
from .content_encoder import ContentEncoder, as_content_encoder
from .livephoto_model import LivePhotoModel

Fit = Literal["crop", "pad", "stretch", "proportions"]
FITS: tuple[Fit, ...] = ("crop", "pad", "stretch", "proportions")


@dataclass(frozen=True, eq=False)
class LivePhotoReference:
    """What travels along a LIVEPHOTO_REFERENCE edge.

    Args:
        latent: VAE latent of the fitted photo as VAEEncode gives it (not scaled), (1 c h w).
        patch_tokens: Of the content encoder, (1 n d); `None` where none was given.
    """

    latent: Tensor
    patch_tokens: Tensor | None = None

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the fitted photo for a VAE that shrinks eightfold."""
        return self.latent.shape[-1] * 8, self.latent.shape[-2] * 8


def fit_image(image: Tensor, *, width: int, height: int, fit: Fit) -> Tensor:
    """Brings a photo to the size of the video.

    Args:
        image: (1 h w c) in 0…1.
        width, height: In pixels, multiples of 8.
        fit: "crop" keeps the middle, "pad" keeps everything and continues the edge pixels into the
            border, "stretch" ignores the aspect ratio, "proportions" keeps the photo's own at about
            width × height pixels.
    Returns:
        (1 height width 3), with "proportions" another height and width.
    Raises:
        ValueError: For several images, a size that is no multiple of 8, or an unknown `fit`.
    """
    _check_fit_arguments(image, width, height, fit)
    pixels = image[..., :3].movedim(-1, 1)
    if fit == "proportions":
        width, height = _size_of_proportions(pixels.shape[3] / pixels.shape[2], width * height)
    if fit == "pad":
        scale = min(width / pixels.shape[3], height / pixels.shape[2])
        inner_width = max(1, round(pixels.shape[3] * scale))
        inner_height = max(1, round(pixels.shape[2] * scale))
        pixels = comfy.utils.common_upscale(
            pixels, inner_width, inner_height, "lanczos", "disabled"
        )
        left, top = (width - inner_width) // 2, (height - inner_height) // 2
        right, bottom = width - inner_width - left, height - inner_height - top
        pixels = F.pad(pixels, (left, right, top, bottom), mode="replicate")
    else:
        crop = "disabled" if fit == "stretch" else "center"
        pixels = comfy.utils.common_upscale(pixels, width, height, "lanczos", crop)
    return pixels.movedim(1, -1).clamp(0, 1)


def _size_of_proportions(aspect_ratio: float, num_pixels: int) -> tuple[int, int]:
    """Width and height of about so many pixels, as sizes of videos can be."""
    width = math.sqrt(num_pixels * aspect_ratio)
    width, height = (max(64, round(size / 8) * 8) for size in (width, width / aspect_ratio))
    return width, height


def encode_reference(
    livephoto: LivePhotoModel,
    vae: Any,
    image: Tensor,
    content_encoder: Any = None,
) -> LivePhotoReference:
    """Encodes a fitted photo into all the forms the checkpoint asks for.

    Args:
        livephoto: Decides whether content tokens are needed, and from which encoder.
        vae: ComfyUI VAE.
        image: Fitted photo, (1 h w 3) in 0…1.
        content_encoder: DINOv2 from CLIPVisionLoader or this pack's loader. Not looked at where the
            checkpoint needs none.
    Raises:
        ValueError: If the VAE or the content encoder is not the one the checkpoint needs.
    """
    check_vae(vae, livephoto)
    encoder: ContentEncoder | None = None
    if content_encoder is not None and livephoto.config.content is not None:
        encoder = as_content_encoder(content_encoder)
    check_content_encoder(encoder, livephoto)
    tokens = encoder.encode(image).cpu() if encoder is not None else None
    latent = vae.encode(image)
    return LivePhotoReference(latent=latent.float().cpu(), patch_tokens=tokens)


def _check_fit_arguments(image: Tensor, width: int, height: int, fit: str) -> None:
    if image.ndim != 4 or image.shape[0] != 1:
        raise ValueError(
            f"image must be one picture, but {image.shape[0]} came. Pick one with Get "
            "Image from Batch (ImageFromBatch in older versions)."
        )
    for name, size in (("width", width), ("height", height)):
        if size < 64 or size % 8:
            raise ValueError(f"{name} must be a multiple of 8 and at least 64 pixels, not {size}.")
    if fit not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}, not {fit!r}.")
