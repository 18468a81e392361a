"""Clips per second of a training, and the share of the machine's peak that it reaches.

    make benchmark-training                      # preset shapes on the tiny base model, one thread
    make benchmark-training ARGS="--base sd15 --size 256 --batch 4 --device cuda"

It is the training loop itself, in one process, on random clips; SD-1.5's weights are random too.
torch counts the FLOP of a step; the peak is the fastest product of two large bf16 matrices on the
same threads or GPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Dinov2Config, Dinov2Model

from harness.environment import prepare

_PRESETS = {"shapes": "shapes", "sd15": "webvid-256"}
_NUM_FRAMES = 16
_MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}


def main() -> None:
    """Trains for some steps and prints a line of figures."""
    options = _options()
    sys.path.insert(0, str(prepare().comfyui))
    from comfy.cli_args import args

    args.cpu = options.device == "cpu"
    torch.set_num_threads(options.threads)
    ingredients = _ingredients(options)
    with FlopCounterMode(display=False) as counter:
        _train(options, ingredients, num_steps=1)
    flop_per_clip = counter.get_total_flops() / options.batch
    # The first step warms up allocators and caches.
    clips_per_s = max(_train(options, ingredients, num_steps=1 + options.rounds)[1:])
    rate, peak = flop_per_clip * clips_per_s, _peak(options)
    print(
        f"{options.base}, {_NUM_FRAMES} frames of {options.size}×{options.size} px, "
        f"{options.batch} clips a batch, {options.device}, {options.threads} thread(s): "
        f"{clips_per_s:.2f} clips/s, {flop_per_clip / 1e9:.1f} GFLOP a clip, "
        f"{rate / 1e9:.0f} GFLOP/s, {rate / peak:.0%} of {peak / 1e9:.0f}"
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


def _ingredients(options: argparse.Namespace) -> Any:
    from livephoto_core.training.data import ClipFacts
    from livephoto_core.training.ingredients import Ingredients
    from tests.training.tiny_training import EDGES, RandomClips

    model, encoder = _tiny_base() if options.base == "shapes" else _sd15_base()
    context_dim = model.model.model_config.unet_config["context_dim"]
    facts = ClipFacts(
        num_frames=_NUM_FRAMES,
        size_px=(options.size, options.size),
        latent_channels=4,
        context_dim=context_dim,
        ssim_edges=EDGES,
        empty_text=torch.zeros(77, context_dim),
    )
    return Ingredients(model, RandomClips(options.batch, clip_facts=facts), encoder)


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
    return tiny_sd15(UNetLayout()), ("dinov2-large", Dinov2Model(config).requires_grad_(False))


def _train(options: argparse.Namespace, ingredients: Any, *, num_steps: int) -> list[float]:
    """Clips per second of each step."""
    from livephoto_core.training.config import set_options
    from livephoto_core.training.log import read_log
    from livephoto_core.training.loop import train
    from livephoto_core.training.presets import find_preset

    with TemporaryDirectory() as folder:
        assignments = (
            f"files.output={folder}/training",
            f"run.steps={num_steps}",
            f"run.batch_size={options.batch}",
            "run.accumulation=1",
            "run.log_every=1",
            "run.sample_every=0",
            "run.sensitivity_every=0",
            "optimiser.warmup_steps=0",
            "optimiser.cooldown_steps=0",
        )
        train(set_options(find_preset(_PRESETS[options.base]).config, assignments), ingredients)
        return [line["clips_per_s"] for line in read_log(Path(folder, "training"))]


def _peak(options: argparse.Namespace) -> float:
    """FLOP per second."""
    side, seconds = _MATRIX_SIDE[options.device], []
    matrix = torch.randn(side, side, dtype=torch.bfloat16, device=options.device)
    for _ in range(options.rounds):
        start = time.perf_counter()
        matrix @ matrix
        if options.device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


if __name__ == "__main__":
    main()
