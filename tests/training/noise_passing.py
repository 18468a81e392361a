"""A tiny base that predicts noise in the simplest way: it hands its input through.

A base of random weights cannot even do that, and what trains on top of it would have to learn it
first. Real bases predict noise well.
"""

from __future__ import annotations

import torch
from comfy.model_patcher import ModelPatcher


@torch.no_grad()
def pass_noise_through(model: ModelPatcher) -> ModelPatcher:
    """Gives the four latent channels, and their negatives, a way around all layers.

    conv_in → skip connection of the last ResBlock → output: GroupNorm of one channel a group makes
    unit variance, and SiLU(z) − SiLU(−z) = z.
    """
    unet = model.model.diffusion_model
    entrance, exit_ = unet.input_blocks[0][0], unet.out[-1]
    resblock, transformer = unet.output_blocks[-1][0], unet.output_blocks[-1][1]
    layers = (entrance, resblock.skip_connection, resblock.out_layers[-1], transformer.proj_out)
    for layer in layers:
        layer.weight[:8].zero_()
        layer.bias[:8].zero_()
    exit_.weight[:, :8].zero_()
    first_skipped = resblock.skip_connection.in_channels - entrance.out_channels
    for channel in range(8):
        sign = 1 if channel < 4 else -1
        entrance.weight[channel, channel % 4, 1, 1] = sign
        resblock.skip_connection.weight[channel, first_skipped + channel] = 1
        exit_.weight[channel % 4, channel, 1, 1] = sign
    return model
