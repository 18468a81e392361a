"""The decoder once more, by itself: sharper pictures from latents that stay as they are.

Latents, and all that was trained on them, do not change; so this step can come at any time after
the autoencoder's. It sees latents with a little noise: those of a video are never exact.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..base_model import LATENT_SCALE, BaseConfig
from .autoencoder import SHAPE_MIX, colour_weights, held_out_pixels, mean_psnr
from .contact_sheet import write_contact_sheet
from .loop import Batch, LoopOptions
from .pictures import render_pixels, sample_picture

_NOISE = 0.05
_NUM_SHOWN = 6


class DecoderTask:
    """Reconstruction from latents with noise of a twentieth of their deviation.

    loss = mean w·|x̂ − x| + mean w·(x̂ − x)², with the weights of `AutoencoderTask`

    Args:
        config: Size of the pictures.
        options: Seed and batch size.
        autoencoder: Finished; it is left as it is.
    """

    def __init__(self, config: BaseConfig, options: LoopOptions, *, autoencoder: Any) -> None:
        self.config, self.options = config, options
        self._autoencoder = autoencoder.to(options.device)
        trained = deepcopy(autoencoder).requires_grad_(True)
        names = ("post_quant_conv", "decoder")
        self.module: Any = nn.ModuleDict({name: getattr(trained, name) for name in names})

    def make_batch(self, step: int) -> Batch:
        """Pictures, (b 3 h w), −1 to 1, others than the autoencoder has seen."""
        first, seed = step * self.options.batch_size, self.options.seed
        numbers = range(first, first + self.options.batch_size)
        pictures = [sample_picture(seed, number, SHAPE_MIX) for number in numbers]
        pixels = render_pixels(pictures, self.config.size_px)
        return {"pixels": pixels, "weights": colour_weights(pixels)}

    def loss(self, module: Any, batch: Batch, generator: torch.Generator) -> Tensor:
        """See the class."""
        latents = self._encode(batch["pixels"])
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        difference = self._decode(module, latents + _NOISE / LATENT_SCALE * noise) - batch["pixels"]
        return ((difference.abs() + difference.square()) * batch["weights"]).mean()

    def measure(self, module: Any, batch: Batch) -> dict[str, float]:
        """PSNR of the batch in dB."""
        restored = self._decode(module, self._encode(batch["pixels"]))
        return {"psnr_db": mean_psnr(restored, batch["pixels"])}

    def show(self, module: Any, path: Path) -> None:
        """Held-out pictures above their reconstructions."""
        pixels = held_out_pixels(self.config, self.options.seed, _NUM_SHOWN)
        restored = self._decode(module, self._encode(pixels.to(self.options.device))).cpu()
        write_contact_sheet(path, torch.cat([pixels, restored]), num_columns=_NUM_SHOWN)

    @torch.no_grad()
    def _encode(self, pixels: Tensor) -> Tensor:
        return self._autoencoder.encode(pixels).float()

    def _decode(self, module: Any, latents: Tensor) -> Tensor:
        return module["decoder"](module["post_quant_conv"](latents)).float()
