"""The steps from nothing to `shapes-base.safetensors`; each continues where it was interrupted.

A run may start from a base model's file: then its parts stand in for the steps that were not done,
and every step trains on from there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...atomic_files import write_atomically
from ...comfyui.demo_modules import (
    build_autoencoder,
    load_autoencoder,
)
from ...comfyui.demo_text import known_token_ids
from ..base_model import BaseConfig, BaseModelFile, TextEncoderConfig, write_base_model
from ..captions import VOCABULARY
from .autoencoder import (
    AutoencoderTask,
    fit_latent_rgb,
    held_out_pixels,
    mean_psnr,
    normalise_latents,
)
from .content_encoder import ContentEncoderTask
from .decoder import DecoderTask
from .latents import encode_pictures
from .loop import LoopOptions, Task, train
from .options import PRESETS, TextToImageOptions
from .pictures import render_pixels, sample_picture
from .run_folder import read_state
from .text_to_image import TextToImageTask

MODULE = "livephoto_core.shapes.base_training"
_NUM_TYPICAL, _NUM_HELD_OUT = 256, 256
_RESULT = "result.json"
_PREFIXES = {
    "content_encoder": {"content_encoder": "encoder."},
    "text_to_image": {"unet": "unet.", "text_encoder": "text_encoder."},
}
"""Where the parts of the file are among a step's weights."""


def world_config() -> BaseConfig:
    """The base model of the synthetic world: its vocabulary is that of the world's captions."""
    token_ids = known_token_ids((*VOCABULARY, ","))
    return BaseConfig(text_encoder=TextEncoderConfig(token_ids=token_ids))


def train_autoencoder(
    config: BaseConfig, options: LoopOptions, run: Path, *, start: BaseModelFile | None = None
) -> dict[str, Any]:
    """First step; the result tells the PSNR on held-out pictures."""
    task = AutoencoderTask(config, options, start=start)
    _train("autoencoder", task, options, run, start=start)
    autoencoder, _ = finished_autoencoder(config, run)
    pixels = held_out_pixels(config, options.seed, _NUM_HELD_OUT)
    restored = _in_parts(lambda some: autoencoder.decode(autoencoder.encode(some)), pixels)
    return _add_figures(run, "autoencoder", {"held_out_psnr_db": mean_psnr(restored, pixels)})


def train_decoder(
    config: BaseConfig, options: LoopOptions, run: Path, *, start: BaseModelFile | None = None
) -> dict[str, Any]:
    """Second step, and the only one that nothing depends on; the result as of the first."""
    autoencoder, _ = finished_autoencoder(config, run, start)
    task = DecoderTask(config, options, autoencoder=autoencoder)
    _train("decoder", task, options, run, start=start)
    finished = with_finished_decoder(autoencoder, run)
    pixels = held_out_pixels(config, options.seed, _NUM_HELD_OUT)
    restored = _in_parts(lambda some: finished.decode(finished.encode(some)), pixels)
    return _add_figures(run, "decoder", {"held_out_psnr_db": mean_psnr(restored, pixels)})


def train_content_encoder(
    config: BaseConfig, options: LoopOptions, run: Path, *, start: BaseModelFile | None = None
) -> dict[str, Any]:
    """Third step, independent of the others; the result tells accuracies on held-out pictures."""
    task = ContentEncoderTask(config, options, start=start)
    average = _train("content_encoder", task, options, run, start=start)
    batch = task.held_out_batch(_NUM_HELD_OUT)
    with torch.no_grad():
        figures = task.measure(average.to("cpu").eval(), batch)
    held_out = {f"held_out_{name}": value for name, value in figures.items()}
    return _add_figures(run, "content_encoder", held_out)


def train_text_to_image(
    config: BaseConfig,
    options: LoopOptions,
    run: Path,
    *,
    num_pictures: int,
    extra: TextToImageOptions | None = None,
    start: BaseModelFile | None = None,
) -> dict[str, Any]:
    """Fourth step: encodes the pictures with the finished autoencoder, then trains on them.

    The result tells how many pictures of a shape in a colour show it.
    """
    autoencoder, _ = finished_autoencoder(config, run, start)
    autoencoder = autoencoder.to(options.device)
    latents = encode_pictures(
        autoencoder,
        config,
        run / "latents",
        num_pictures=num_pictures,
        seed=options.seed,
        num_workers=options.num_workers,
    )
    task = TextToImageTask(
        config, options, latents=latents, autoencoder=autoencoder, extra=extra, start=start
    )
    given = {"num_pictures": num_pictures, **dataclasses.asdict(extra or TextToImageOptions())}
    average = _train("text_to_image", task, options, run, extra=given, start=start)
    if is_done(run, "decoder"):
        with_finished_decoder(autoencoder, run)
    return _add_figures(run, "text_to_image", task.drawn(average.eval()))


def finished_autoencoder(
    config: BaseConfig, run: Path, start: BaseModelFile | None = None
) -> tuple[Any, tuple[tuple[float, ...], ...]]:
    """The trained autoencoder as it is shipped, and its linear preview.

    Rounded to fp16 and back, so that the UNet learns on the very latents it will be given.

    Raises:
        ValueError: If it was not trained yet.
    """
    if start and not is_done(run, "autoencoder"):
        return load_autoencoder(start), start.config.latent_rgb
    autoencoder = build_autoencoder(config).requires_grad_(False).eval()
    state = _state(run, "autoencoder")
    autoencoder.load_state_dict(state["average"])
    seed = state["options"]["seed"]
    pictures = [sample_picture(seed, index) for index in range(_NUM_TYPICAL)]
    pixels = render_pixels(pictures, config.size_px)
    normalise_latents(autoencoder, pixels)
    autoencoder = autoencoder.half().float()
    return autoencoder, fit_latent_rgb(autoencoder, pixels[: _NUM_TYPICAL // 4])


def with_finished_decoder(autoencoder: Any, run: Path) -> Any:
    """The autoencoder with the decoder that was trained by itself; changes it in place.

    Raises:
        ValueError: If that was not done yet.
    """
    weights = _state(run, "decoder")["average"]
    autoencoder.load_state_dict({**autoencoder.state_dict(), **weights})
    return autoencoder


def export(
    config: BaseConfig,
    run: Path,
    path: str | os.PathLike[str],
    *,
    start: BaseModelFile | None = None,
) -> None:
    """Last step: writes all parts, with command, seed, time and figures of their training.

    Raises:
        ValueError: If a step was not done yet.
    """
    autoencoder, latent_rgb = finished_autoencoder(config, run, start)
    # Decoder and UNet of a file know the latents of its own autoencoder only.
    needed = set(PRESETS) if not start else set()
    if is_done(run, "autoencoder"):
        needed |= {"decoder", "text_to_image"}
    if "decoder" in needed or is_done(run, "decoder"):
        autoencoder = with_finished_decoder(autoencoder, run)
    parts = {"autoencoder": autoencoder.state_dict()}
    for stage, prefixes in _PREFIXES.items():
        if start and stage not in needed and not is_done(run, stage):
            parts |= {name: start.part(name) for name in prefixes}
        else:
            weights = _state(run, stage)["average"]
            parts |= {name: _only(prefix, weights) for name, prefix in prefixes.items()}
    before = start_records(start)
    results = {
        name: json.loads((run / name / _RESULT).read_text()) if is_done(run, name) else before[name]
        for name in PRESETS
    }
    write_base_model(
        path,
        dataclasses.replace(config, latent_rgb=latent_rgb),
        parts,
        {"training": json.dumps(results), "license": "Apache-2.0"},
    )


def is_done(run: Path, stage: str) -> bool:
    """Whether a run has trained a step itself."""
    return (run / stage / _RESULT).is_file()


def start_records(start: BaseModelFile | None) -> dict[str, Any]:
    """How the steps of a file were trained, by their names."""
    return json.loads(start.metadata.get("training", "{}")) if start else {}


def command_line(stage: str, options: LoopOptions, extra: dict[str, Any] | None = None) -> str:
    """The command that repeats a step, without the names of this machine's folders."""
    values = {**dataclasses.asdict(options), **(extra or {})}
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    return shlex.join(["python", "-m", MODULE, stage.replace("_", "-"), *arguments])


def _train(
    stage: str,
    task: Task,
    options: LoopOptions,
    run: Path,
    *,
    extra: dict[str, Any] | None = None,
    start: BaseModelFile | None = None,
) -> nn.Module:
    trained = train(task, options, run / stage, extra=extra)
    result = {
        "command": command_line(stage, options, extra),
        "seed": options.seed,
        "num_steps": trained.num_steps,
        "seconds": round(trained.seconds, 1),
        "torch": torch.__version__,
        "figures": trained.figures,
    }
    if start:
        result["continues"] = start_records(start).get(stage)
    write_atomically(run / stage / _RESULT, json.dumps(result, indent=1).encode())
    return trained.module


def _add_figures(run: Path, stage: str, figures: dict[str, float]) -> dict[str, Any]:
    path = run / stage / _RESULT
    result = json.loads(path.read_text())
    result["figures"].update(figures)
    write_atomically(path, json.dumps(result, indent=1).encode())
    return result


def _state(run: Path, stage: str) -> dict[str, Any]:
    state = read_state(run / stage) if is_done(run, stage) else None
    if state is None:
        command = f"python -m {MODULE} {stage.replace('_', '-')}"
        raise ValueError(f"{run} holds no finished {stage} yet. Run `{command}` to its end first.")
    return state


def _only(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = [name for name in weights if name.startswith(prefix)]
    return {name.removeprefix(prefix): weights[name] for name in names}


@torch.no_grad()
def _in_parts(function: Any, pixels: torch.Tensor) -> torch.Tensor:
    return torch.cat([function(some) for some in pixels.split(16)])
