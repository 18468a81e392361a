"""The autoencoder: pictures to latents eight times smaller, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...comfyui.demo_modules import build_autoencoder, initialise_weights
from ..base_model import LATENT_SCALE, BaseConfig
from .contact_sheet import write_contact_sheet
from .loop import Batch, LoopOptions
from .pictures import render_pixels, sample_picture

_KL_WEIGHT = 3e-4
_PLAIN_STEPS = 2500
_COLOUR_WEIGHT = 8.0
_REACH_PX = 7
_HELD_OUT_SEED_OFFSET = 1
_NUM_SHOWN = 6


class AutoencoderTask:
    """Reconstruction, with a little noise on latents that are kept near unit variance.

    loss = mean w·|x̂ − x| + mean w·(x̂ − x)² + 3·10⁻⁴ · mean KL(q(z|x) ‖ N(0, 1))

    Our choice: no perceptual or adversarial loss. In its place w, which is 1 for the first 2500
    steps and then up to 9 on and around coloured pixels: a shape covers a twentieth of the picture,
    and a PSNR of 30 dB can be had with stars that look like hearts.

    Args:
        config: Describes the autoencoder.
        options: Seed and batch size.
    """

    def __init__(self, config: BaseConfig, options: LoopOptions) -> None:
        self.config, self.options = config, options
        self.module: nn.Module = build_autoencoder(config)
        initialise_weights(self.module, options.seed)

    def make_batch(self, step: int) -> Batch:
        """Pictures, (b 3 h w), −1 to 1."""
        first, seed = step * self.options.batch_size, self.options.seed
        pictures = [sample_picture(seed, first + n) for n in range(self.options.batch_size)]
        pixels = render_pixels(pictures, self.config.size_px)
        weights = colour_weights(pixels) if step >= _PLAIN_STEPS else torch.ones_like(pixels[:, :1])
        return {"pixels": pixels, "weights": weights}

    def loss(self, module: Any, batch: Batch, generator: torch.Generator) -> Tensor:
        """See the class."""
        pixels, weights = batch["pixels"], batch["weights"]
        mean, log_variance = encode_moments(module, pixels)
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        difference = module.decode(mean + (0.5 * log_variance).exp() * noise).float() - pixels
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
        errors = (difference.abs() + difference.square()) * weights
        return errors.mean() + _KL_WEIGHT * divergence.mean()

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
    """Weights of pixels (b 3 h w) in −1…1: (b 1 h w), high on and beside saturated ones."""
    saturation = (pixels.amax(dim=1, keepdim=True) - pixels.amin(dim=1, keepdim=True)) / 2
    # Backgrounds are muted, below a tenth.
    coloured = F.max_pool2d(saturation, _REACH_PX, stride=1, padding=_REACH_PX // 2)
    return 1 + _COLOUR_WEIGHT * coloured


def encode_moments(autoencoder: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance of the latents' distribution, two (b c h/8 w/8), float32."""
    mean, log_variance = autoencoder.quant_conv(autoencoder.encoder(pixels)).float().chunk(2, dim=1)
    return mean, log_variance.clamp(-30, 20)


def held_out_pixels(config: BaseConfig, seed: int, count: int) -> Tensor:
    """Pictures of combinations that training never sees, (b 3 h w), −1 to 1."""
    stream = seed + _HELD_OUT_SEED_OFFSET
    pictures = [sample_picture(stream, index, held_out=True) for index in range(count)]
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
