"""The base model proper: text encoder and UNet, trained together on single pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...comfyui.demo_modules import build_unet, initialise_weights, predict_noise
from ...comfyui.demo_text import UNKNOWN_ROW, TextEncoder, clip_tokens, embedding_rows
from ...diffusion.schedules import schedule_alphas_cumprod
from ..base_model import LATENT_SCALE, NOISE_SCHEDULE, BaseConfig, BaseModelFile
from ..scene import COLOURS, SHAPES
from ..tracking import seen_colour, seen_shape
from .contact_sheet import write_contact_sheet
from .loop import Batch, LoopOptions
from .options import TextToImageOptions
from .pictures import contrasting_captions, picture_caption, sample_picture
from .sampling import sample_ddim

_CAPTION_STREAM = 3
_NUM_DRAWN = 2
_NUM_MEASURED = 16
_MEASURED_TIMESTEPS = (500, 1000)
SHOWN_CAPTIONS = (
    "a red circle",
    "a blue star",
    "a green square on dots",
    "a yellow heart on clouds",
    "a red circle moving left",
    "a red circle moving right",
    "a red circle moving up",
    "a red circle moving down",
    "a blue star turning clockwise",
    "a blue star turning counterclockwise",
    "a green square grows",
    "a green square shrinks",
    "a yellow heart waving",
    "a pink triangle, the camera zooms in",
    "a purple circle, lightning flashes",
    "a cyan square, a second one appears",
)


class TextToImageTask:
    """Noise prediction from sentences: mean ‖ε̂(√ᾱ_t·x + √(1−ᾱ_t)·ε, t, text) − ε‖².

    Args:
        config: Describes UNet and text encoder.
        options: Seed and batch size.
        latents: Of the pictures 0…n − 1 of the stream of `options.seed`, (n c h w), see `latents`.
        autoencoder: For examples.
        extra: What is special about this part.
        start: Base model whose UNet and text encoder it starts from; none starts from random
            weights.
    """

    def __init__(
        self,
        config: BaseConfig,
        options: LoopOptions,
        *,
        latents: np.ndarray,
        autoencoder: Any,
        extra: TextToImageOptions | None = None,
        start: BaseModelFile | None = None,
    ) -> None:
        self.config, self.options, self.extra = config, options, extra or TextToImageOptions()
        self._latents, self._autoencoder = latents, autoencoder.to(options.device)
        unet, text_encoder = build_unet(config), TextEncoder(config)
        initialise_weights(unet, options.seed)
        initialise_weights(text_encoder, options.seed + 1)
        if start:
            # Attention on levels finer than its own stays as initialised: without effect.
            unet.load_state_dict({**unet.state_dict(), **start.part("unet")})
            text_encoder.load_state_dict(start.part("text_encoder"))
        self.module: nn.Module = nn.ModuleDict({"unet": unet, "text_encoder": text_encoder})
        self._alphas = schedule_alphas_cumprod(NOISE_SCHEDULE).float()
        self._empty = self.token_rows([""])[0]

    def make_batch(self, step: int) -> Batch:
        """Latents, and embedding rows of their captions and of two contrasting ones."""
        size, seed = self.options.batch_size, self.options.seed
        rng = np.random.default_rng((seed, step, _CAPTION_STREAM))
        indices = rng.integers(len(self._latents), size=size)
        pictures = [sample_picture(seed, int(index)) for index in indices]
        wordings = rng.integers(2**31, size=size).tolist()
        captions = map(picture_caption, pictures, wordings)
        rows = self._drop_words(self.token_rows(list(captions)), rng)
        rows[torch.from_numpy(rng.random(size) < self.extra.text_drop)] = self._empty
        contrasts = map(contrasting_captions, pictures[:_NUM_MEASURED], wordings)
        said, other = (self.token_rows(list(some)) for some in zip(*contrasts, strict=True))
        latents = torch.from_numpy(self._latents[indices].astype(np.float32))
        return {"latents": latents, "rows": rows, "said": said, "other": other}

    def loss(self, module: Any, batch: Batch, generator: torch.Generator) -> Tensor:
        """See the class."""
        latents = batch["latents"]
        uniform = torch.rand(len(latents), generator=generator)
        timesteps = (uniform**self.extra.timestep_power * len(self._alphas)).long().clamp(max=999)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        noisy = self._add_noise(latents, noise, timesteps)
        text = module["text_encoder"](batch["rows"])
        predicted = predict_noise(module["unet"], noisy, timesteps.to(latents.device), text)
        return F.mse_loss(predicted, noise)

    def measure(self, module: Any, batch: Batch) -> dict[str, float]:
        """How much of the prediction changes with the sentence, at the same noise.

        ‖ε̂(a) − ε̂(b)‖ / ‖ε̂(a)‖ at timesteps 500 to 999, where a sentence is followed by another
        picture's (text), or by the same with another motion (motion).
        """
        latents = batch["latents"][:_NUM_MEASURED]
        generator = torch.Generator().manual_seed(self.options.seed)
        timesteps = torch.randint(*_MEASURED_TIMESTEPS, (len(latents),), generator=generator)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        noisy = self._add_noise(latents, noise, timesteps)
        texts = (batch["said"], batch["said"].roll(1, dims=0), batch["other"])
        said, rolled, moved = (
            predict_noise(
                module["unet"], noisy, timesteps.to(latents.device), module["text_encoder"](rows)
            )
            for rows in texts
        )
        return {
            "text_sensitivity": ((said - rolled).norm() / said.norm()).item(),
            "motion_sensitivity": ((said - moved).norm() / said.norm()).item(),
        }

    def show(self, module: Any, path: Path) -> None:
        """Pictures of `SHOWN_CAPTIONS`, always from the same noise."""
        generator = torch.Generator().manual_seed(self.options.seed)
        noise = torch.randn(1, *self._latents.shape[1:], generator=generator)
        noise = noise.expand(len(SHOWN_CAPTIONS), -1, -1, -1)
        pixels = self._draw(module, self.token_rows(SHOWN_CAPTIONS), noise)
        write_contact_sheet(path, pixels, num_columns=4)

    @torch.no_grad()
    def drawn(self, module: Any) -> dict[str, float]:
        """How often pictures of every shape in every colour show what was asked for: shares."""
        asked = [(shape, colour) for shape in SHAPES for colour in COLOURS] * _NUM_DRAWN
        rows = self.token_rows([f"a {colour} {shape}" for shape, colour in asked])
        generator = torch.Generator().manual_seed(self.options.seed)
        noise = torch.randn(len(asked), *self._latents.shape[1:], generator=generator)
        pixels = self._draw(module, rows, noise)
        images = ((pixels + 1) / 2).clamp(0, 1).movedim(1, -1).cpu()
        seen = [(seen_shape(image), seen_colour(image)) for image in images]
        return {
            name: sum(s[part] == a[part] for s, a in zip(seen, asked, strict=True)) / len(asked)
            for part, name in enumerate(("drawn_shape", "drawn_colour"))
        }

    def token_rows(self, captions: Any) -> Tensor:
        """Rows of the embedding, (b 77)."""
        tokens = torch.tensor([clip_tokens(caption) for caption in captions])
        return embedding_rows(tokens, self.config)

    def _draw(self, module: Any, rows: Tensor, noise: Tensor) -> Tensor:
        """Pictures (b 3 h w), −1 to 1, of sentences (b 77) from noise (b c h/8 w/8)."""
        device = self.options.device
        latents = sample_ddim(
            partial(predict_noise, module["unet"]),
            module["text_encoder"](rows.to(device)),
            module["text_encoder"](self._empty[None].to(device)),
            noise=noise.to(device),
        )
        return self._autoencoder.decode(latents / LATENT_SCALE).float()

    def _drop_words(self, rows: Tensor, rng: np.random.Generator) -> Tensor:
        special = embedding_rows(torch.tensor(clip_tokens("")[:2]), self.config)
        is_dropped = torch.from_numpy(rng.random(tuple(rows.shape)) < self.extra.word_drop)
        return rows.masked_fill(is_dropped & ~torch.isin(rows, special), UNKNOWN_ROW)

    def _add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        alphas = self._alphas[timesteps].view(-1, 1, 1, 1).to(latents)
        return alphas.sqrt() * latents + (1 - alphas).sqrt() * noise
