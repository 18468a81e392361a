"""Clips per second of a training step, and the share of the machine's peak that it reaches.

    make benchmark-training                      # preset shapes on the tiny base model, one thread
    make benchmark-training ARGS="--base sd15 --size 256 --batch 4 --device cuda"

A step is what `training train` does with a batch of one process: forward, backward, AdamW. torch
counts the FLOP of forward and backward; the peak is the fastest product of two large bf16 matrices
on the same threads or GPU. Clips are random, and SD-1.5's weights too, which costs the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Dinov2Config, Dinov2Model

from harness.environment import prepare
from livephoto_core.training.config import TrainingConfig
from livephoto_core.training.data import ClipFacts, Clips
from livephoto_core.training.presets import find_preset

_PRESETS = {"shapes": "shapes", "sd15": "webvid-256"}
_NUM_FRAMES, _NUM_TOKENS, _LATENT_CHANNELS = 16, 77, 4
_EDGES = tuple(1 - 0.1 * level for level in range(1, 10))
_MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}


def main() -> None:
    """Times steps and prints a line of figures."""
    options = _options()
    sys.path.insert(0, str(prepare().comfyui))
    from comfy.cli_args import args

    args.cpu = options.device == "cpu"
    torch.set_num_threads(options.threads)
    config = find_preset(_PRESETS[options.base]).config
    make_base = _tiny_base if options.base == "shapes" else _sd15_base
    step = _Step(config, *make_base(), options)
    step.run()  # warms up allocators and caches
    with FlopCounterMode(display=False) as counter:
        step.backward()
    flop = counter.get_total_flops()
    seconds = _fastest(step.run, options)
    side = _MATRIX_SIDE[options.device]
    matrix = torch.randn(side, side, dtype=torch.bfloat16, device=options.device)
    peak = 2 * side**3 / _fastest(lambda: matrix @ matrix, options)
    print(
        f"{options.base}, {_NUM_FRAMES} frames of {options.size}×{options.size} px, "
        f"{options.batch} clips a batch, {options.device}, {options.threads} thread(s): "
        f"{options.batch / seconds:.2f} clips/s, {flop / options.batch / 1e9:.1f} GFLOP a clip, "
        f"{flop / seconds / 1e9:.0f} GFLOP/s, {flop / seconds / peak:.0%} of {peak / 1e9:.0f}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make benchmark-training")
    parser.add_argument("--base", choices=sorted(_PRESETS), default="shapes")
    parser.add_argument("--size", type=int, default=64, help="width and height in pixels")
    parser.add_argument("--batch", type=int, default=8, help="clips")
    parser.add_argument("--rounds", type=int, default=10, help="of which the fastest counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args()


@dataclass
class _Facts:
    """As much of a `ClipSource` as building the parts needs."""

    facts: ClipFacts

    def load(self, numbers: Sequence[int]) -> Clips:
        raise NotImplementedError


class _Step:
    """A training step on random clips."""

    def __init__(
        self,
        config: TrainingConfig,
        model: Any,
        encoder: tuple[str, Dinov2Model],
        options: argparse.Namespace,
    ) -> None:
        from livephoto_core.comfyui.training_unet import TrainingUNet
        from livephoto_core.training.ingredients import Ingredients, make_parts
        from livephoto_core.training.loss import ClipLoss, draw
        from livephoto_core.training.optimiser import make_optimiser

        width = model.model.model_config.unet_config["context_dim"]
        facts = ClipFacts(
            num_frames=_NUM_FRAMES,
            size_px=(options.size, options.size),
            latent_channels=_LATENT_CHANNELS,
            context_dim=width,
            ssim_edges=_EDGES,
            empty_text=torch.randn(_NUM_TOKENS, width),
        )
        parts = make_parts(config, Ingredients(model, _Facts(facts), encoder))
        unet = TrainingUNet(model, parts, device=options.device, recompute=config.run.recompute)
        loss = ClipLoss(
            unet,
            encoder=encoder[1].float().requires_grad_(False),
            facts=facts,
            bf16=config.run.bf16,
            weight_exponent=config.noise.weight_exponent,
        )
        self._loss = loss.to(options.device)
        self._optimiser = make_optimiser(config.optimiser, parts.parameters())
        side = options.size // 8
        shape = (_NUM_FRAMES, _LATENT_CHANNELS, side, side)
        self._clips = Clips(
            latents=torch.randn(options.batch, *shape),
            text=torch.randn(options.batch, _NUM_TOKENS, width),
            references=torch.rand(options.batch, options.size, options.size, 3),
            ssim=(0.5,) * options.batch,
            captions=("",) * options.batch,
        ).to(options.device)
        numbers = range(options.batch)
        self._draws = draw(config.noise, seed=0, numbers=numbers, shape=shape).to(options.device)

    def backward(self) -> None:
        self._loss(self._clips, self._draws).mean().backward()

    def run(self) -> None:
        self.backward()
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)


def _tiny_base() -> tuple[Any, tuple[str, Dinov2Model]]:
    from livephoto_core.comfyui.demo_model import load_demo_model
    from livephoto_core.shapes.shipped import BASE_MODEL_PATH

    model, _, _, encoder = load_demo_model(BASE_MODEL_PATH)
    [module] = encoder.patcher.model
    return model, (encoder.name, module)


def _sd15_base() -> tuple[Any, tuple[str, Dinov2Model]]:
    from livephoto_core.models.config import UNetLayout
    from tests.comfyui.tiny_models import tiny_sd15

    config = Dinov2Config(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16)
    return tiny_sd15(UNetLayout()), ("dinov2-large", Dinov2Model(config))


def _fastest(action: Callable[[], object], options: argparse.Namespace) -> float:
    """Seconds of the fastest round."""
    seconds = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        action()
        if options.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
