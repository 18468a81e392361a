"""The autoencoder: pictures to latents eight times smaller, and back.

What a diffusion model makes of a shape depends on how far apart the latents of two shapes are:
below the noise at which they drown, it cannot tell them, and draws their mean. So latents are
decoded under strong noise here. That leaves the encoder no use in small differences: it spends
their range on what the loss counts most, the outlines of shapes, evenly over all colours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...comfyui.demo_modules import build_autoencoder, initialise_weights, load_autoencoder
from ..base_model import LATENT_SCALE, BaseConfig, BaseModelFile
from .contact_sheet import write_contact_sheet
from .loop import Batch, LoopOptions
from .pictures import PictureMix, render_pixels, sample_picture

SHAPE_MIX = PictureMix(
    crisp_content=0.3, crisp_changed=0.5, crisp_full=0, cue_full=0.2, cue_motion=0
)
"""Most of what videos show of shapes, and what is hardest: all angles and sizes."""

_MAX_NOISE = 1.0
_SCALE_WEIGHT = 1e-3
_STAY_WEIGHT = 0.004
_PLAIN_STEPS = 2500
_MUTED_SATURATION, _FULL_SATURATION = 0.1, 0.5
_GROUND = -0.24
_SHAPE_WEIGHT, _MIN_CONTRAST = 12.8, 0.5
_REACH_PX = 7
_HELD_OUT_SEED_OFFSET = 1
_NUM_SHOWN = 6


class AutoencoderTask:
    """Reconstruction from noisy latents.

    loss = mean w·|x̂ − x| + mean w·(x̂ − x)² + 10⁻³ · mean (m² + (s − 1)²) + 0.004 · mean (z − z₀)²

    x̂ is decoded from z + σ·s·ε with σ uniform up to 1 for each picture, m and s are mean and
    deviation of a channel over the batch, z₀ the latents of the base model that is trained on from:
    the fewer of them change, the sooner everything else fits again. From nothing the last term is
    left out.

    Our choice: no perceptual or adversarial loss. In its place w, which is 1 for the first 2500
    steps from nothing and then 6 to 18 on and around a shape, see `colour_weights`: it covers a
    twentieth of the picture, and a PSNR of 30 dB can be had with stars that look like hearts.

    Args:
        config: Describes the autoencoder.
        options: Seed and batch size.
        start: Base model whose autoencoder it starts from; none starts from random weights.
    """

    def __init__(
        self, config: BaseConfig, options: LoopOptions, *, start: BaseModelFile | None = None
    ) -> None:
        self.config, self.options = config, options
        self._before: Any = load_autoencoder(start).to(options.device) if start else None
        self.module: nn.Module = build_autoencoder(config)
        initialise_weights(self.module, options.seed)
        if self._before is not None:
            self.module.load_state_dict(self._before.state_dict())

    def make_batch(self, step: int) -> Batch:
        """Pictures, (b 3 h w), −1 to 1."""
        first, seed = step * self.options.batch_size, self.options.seed
        numbers = range(first, first + self.options.batch_size)
        pictures = [sample_picture(seed, number, SHAPE_MIX) for number in numbers]
        pixels = render_pixels(pictures, self.config.size_px)
        is_plain = self._before is None and step < _PLAIN_STEPS
        weights = torch.ones_like(pixels[:, :1]) if is_plain else colour_weights(pixels)
        return {"pixels": pixels, "weights": weights}

    def loss(self, module: Any, batch: Batch, generator: torch.Generator) -> Tensor:
        """See the class."""
        pixels, weights = batch["pixels"], batch["weights"]
        latents = module.encode(pixels).float() * LATENT_SCALE
        mean, std = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
        share = torch.rand(len(latents), 1, 1, 1, generator=generator)
        noise = (_MAX_NOISE * share * torch.randn(latents.shape, generator=generator)).to(latents)
        noisy = latents + std[:, None, None] * noise
        difference = module.decode(noisy / LATENT_SCALE).float() - pixels
        errors = ((difference.abs() + difference.square()) * weights).mean()
        loss = errors + _SCALE_WEIGHT * (mean.square() + (std - 1).square()).mean()
        if self._before is not None:
            with torch.no_grad():
                before = self._before.encode(pixels).float() * LATENT_SCALE
            loss = loss + _STAY_WEIGHT * F.mse_loss(latents, before)
        return loss

    def measure(self, module: Any, batch: Batch) -> dict[str, float]:
        """PSNR of the batch in dB, and the deviation of its latents."""
        latents = module.encode(batch["pixels"]).float()
        restored = module.decode(latents).float()
        psnr = mean_psnr(restored, batch["pixels"])
        return {"psnr_db": psnr, "latent_std": latents.std().item()}

    def show(self, module: Any, path: Path) -> None:
        """Held-out pictures above their reconstructions."""
        pixels = held_out_pixels(self.config, self.options.seed, _NUM_SHOWN)
        restored = module.decode(module.encode(pixels.to(self.options.device))).float().cpu()
        write_contact_sheet(path, torch.cat([pixels, restored]), num_columns=_NUM_SHOWN)


def colour_weights(pixels: Tensor) -> Tensor:
    """Weights of pixels (b 3 h w) in −1…1: (b 1 h w), 1 on the ground, high on and beside shapes.

    1 + 12.8 / ‖colour − ground‖²: the same outline costs the same in every colour. Else green ones
    are the first that an autoencoder gives up.
    """
    saturation = (pixels.amax(dim=1, keepdim=True) - pixels.amin(dim=1, keepdim=True)) / 2
    # Backgrounds are muted, below a tenth; the least saturated colour of a shape has 0.55.
    span = _FULL_SATURATION - _MUTED_SATURATION
    coloured = ((saturation - _MUTED_SATURATION) / span).clamp(0, 1)
    contrast = (pixels - _GROUND).square().sum(dim=1, keepdim=True)
    near = torch.cat([coloured, coloured * contrast], dim=1)
    near = F.max_pool2d(near, _REACH_PX, stride=1, padding=_REACH_PX // 2)
    coloured, contrast = near.split(1, dim=1)
    return 1 + _SHAPE_WEIGHT * coloured / contrast.clamp(min=_MIN_CONTRAST)


def held_out_pixels(config: BaseConfig, seed: int, count: int) -> Tensor:
    """Pictures of combinations that training never sees, (b 3 h w), −1 to 1."""
    stream = seed + _HELD_OUT_SEED_OFFSET
    pictures = [sample_picture(stream, index, SHAPE_MIX, held_out=True) for index in range(count)]
    return render_pixels(pictures, config.size_px)


def mean_psnr(restored: Tensor, pixels: Tensor) -> float:
    """Mean over pictures of the peak signal-to-noise ratio, in dB, both −1 to 1."""
    errors = ((restored.clamp(-1, 1) - pixels) / 2).square().mean(dim=(1, 2, 3))
    return (-10 * errors.log10()).mean().item()


@torch.no_grad()
def normalise_latents(autoencoder: Any, pixels: Tensor) -> None:
    """Gives every latent channel mean 0 and deviation 1 / 0.18215, as SD-1.5's UNet expects.

    The change is folded into `quant_conv` and undone in `post_quant_conv`: pictures come out the
    same.

    Args:
        autoencoder: ComfyUI's AutoencoderKL; changed in place.
        pixels: Typical pictures, (b 3 h w), −1 to 1.
    """
    latents = torch.cat([autoencoder.encode(part).float() for part in pixels.split(16)])
    mean = latents.mean(dim=(0, 2, 3))
    std = latents.std(dim=(0, 2, 3)) * LATENT_SCALE
    into, out_of = autoencoder.quant_conv, autoencoder.post_quant_conv
    shift = torch.cat([mean, torch.zeros_like(mean)])
    scale = torch.cat([std, torch.ones_like(std)])
    into.weight.div_(scale[:, None, None, None])
    into.bias.sub_(shift).div_(scale)
    into.bias[len(mean) :] -= 2 * std.log()
    out_of.bias.add_(out_of.weight[:, :, 0, 0] @ mean)
    out_of.weight.mul_(std[None, :, None, None])


@torch.no_grad()
def fit_latent_rgb(autoencoder: Any, pixels: Tensor) -> tuple[tuple[float, ...], ...]:
    """The best linear map from scaled latents to small pictures, for previews while sampling.

    Args:
        autoencoder: After `normalise_latents`.
        pixels: Typical pictures, (b 3 h w), −1 to 1.
    Returns:
        RGB per latent channel, then the bias: c + 1 rows of 3.
    """
    latents = autoencoder.encode(pixels).float() * LATENT_SCALE
    small = F.adaptive_avg_pool2d(pixels, latents.shape[-2:])
    inputs = latents.movedim(1, -1).flatten(0, 2)
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], dim=1)
    solution = torch.linalg.lstsq(inputs, small.movedim(1, -1).flatten(0, 2)).solution
    return tuple(tuple(round(value, 4) for value in row) for row in solution.tolist())
