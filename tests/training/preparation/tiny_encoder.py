"""A VAE and a text encoder with few, random weights, which encode for real."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

SCALE = 0.18215
TEXT_WIDTH = 16


class TinyEncoder:
    """The encoder protocol on diffusers' VAE and transformers' CLIP, reading bytes as tokens."""

    name = "tiny"
    sha256 = "0" * 64

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
        ).eval()
        config = CLIPTextConfig(
            vocab_size=260,
            hidden_size=TEXT_WIDTH,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            eos_token_id=257,
        )
        self.text_model = CLIPTextModel(config).eval()

    @torch.inference_mode()
    def encode_images(self, images: Tensor) -> Tensor:
        """(b h w 3) in 0…1 → (b 4 h/8 w/8)."""
        pixels = images.movedim(-1, 1) * 2 - 1
        return self.vae.encode(pixels).latent_dist.mode() * SCALE

    @torch.inference_mode()
    def encode_text(self, caption: str) -> Tensor:
        """Up to 75 bytes → (77 d)."""
        tokens = [256, *caption.encode()[:75], 257]
        tokens += [257] * (77 - len(tokens))
        return self.text_model(torch.tensor([tokens])).last_hidden_state[0]
