"""Weight files in the exact layout of the public ones, at full size but almost without data.

Shapes are real; safetensors files are sparse, .ckpt files share one storage. The first value of
every tensor is a number of its own, so that a mix-up shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch

from livephoto_core.models.config import (
    ContentConfig,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    TextReweightingConfig,
    UNetLayout,
)
from livephoto_core.models.livephoto import LivePhoto

Shapes = Mapping[str, tuple[int, ...]]

SD15_WIDTHS = (320, 640, 1280, 1280)

TINY_LAYOUT = UNetLayout(
    block_channels=(32, 64),
    layers_per_block=1,
    attention_levels=(0,),
    context_dim=16,
    num_heads=2,
)
TINY = LivePhotoConfig(
    layout=TINY_LAYOUT,
    motion=MotionConfig(position_length=8, num_heads=2),
    input_conditioning=InputConditioningConfig(),
    content=ContentConfig(encoder="dinov2-small", encoder_dim=24, token_dim=16),
    text_reweighting=TextReweightingConfig(num_layers=1, num_heads=2, num_frames=8),
    num_frames=8,
    training_size_px=(64, 96),
    ssim_edges=(0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1 + 0.2),
    noise_schedule="linear",
    cross_frame_group_norm=True,
)


def random_weights(config: LivePhotoConfig, dtype: torch.dtype = torch.float32) -> dict:
    """Normally distributed weights of `LivePhoto(config)`."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(tensor.shape, generator=generator).to(dtype)
        for name, tensor in LivePhoto(config, device="meta").state_dict().items()
    }


def motion_module_shapes(channels: int, num_positions: int | None) -> dict[str, tuple[int, ...]]:
    """One temporal transformer of AnimateDiff."""
    square, vector = (channels, channels), (channels,)
    shapes: dict[str, tuple[int, ...]] = {f"norm.{part}": vector for part in ("weight", "bias")}
    for projection in ("proj_in", "proj_out"):
        shapes |= {f"{projection}.weight": square, f"{projection}.bias": vector}
    block = "transformer_blocks.0."
    for index in (0, 1):
        attention = f"{block}attention_blocks.{index}."
        shapes |= {f"{attention}{name}.weight": square for name in ("to_q", "to_k", "to_v")}
        shapes |= {f"{attention}to_out.0.weight": square, f"{attention}to_out.0.bias": vector}
        if num_positions is not None:
            shapes[f"{attention}pos_encoder.pe"] = (1, num_positions, channels)
        shapes |= {f"{block}norms.{index}.{part}": vector for part in ("weight", "bias")}
    shapes |= {
        f"{block}ff.net.0.proj.weight": (8 * channels, channels),
        f"{block}ff.net.0.proj.bias": (8 * channels,),
        f"{block}ff.net.2.weight": (channels, 4 * channels),
        f"{block}ff.net.2.bias": vector,
    }
    return shapes | {f"{block}ff_norm.{part}": vector for part in ("weight", "bias")}


def animatediff_shapes(
    num_positions: int | None,
    *,
    has_middle: bool = False,
    widths: tuple[int, ...] = SD15_WIDTHS,
) -> dict[str, tuple[int, ...]]:
    """A whole AnimateDiff file: 2 modules a level down, 3 up."""
    places = [
        (f"{side}_blocks.{level}.motion_modules.{index}", channels)
        for side, depth, order in (("down", 2, widths), ("up", 3, widths[::-1]))
        for level, channels in enumerate(order)
        for index in range(depth)
    ]
    if has_middle:
        places.append(("mid_block.motion_modules.0", widths[-1]))
    return {
        f"{place}.temporal_transformer.{name}": shape
        for place, channels in places
        for name, shape in motion_module_shapes(channels, num_positions).items()
    }


PIA_INPUT = {"conv_in.weight": (320, 9, 3, 3), "conv_in.bias": (320,)}


def write_raw(path: Path, header: object, data: bytes = b"") -> Path:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def write_sparse(
    path: Path, shapes: Shapes, *, metadata: Mapping[str, str] | None = None, dtype: str = "F16"
) -> Path:
    """A sparse safetensors file; `markers` says which tensor starts with which number."""
    item_bytes = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I64": 8, "F8_E4M3": 1}[dtype]
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, shape in shapes.items():
        stop = position + math.prod(shape) * item_bytes
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, stop]}
        position = stop
    text = json.dumps(header).encode()
    write_raw(path, text + b" " * (-len(text) % 8))
    start = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(start + position)
        if dtype == "F16":
            for name, number in markers(shapes).items():
                entry = header[name]
                assert isinstance(entry, dict)
                file.seek(start + entry["data_offsets"][0])
                file.write(torch.tensor(number, dtype=torch.float16).numpy().tobytes())
    return path


def markers(shapes: Shapes) -> dict[str, float]:
    """The first value of every tensor of a file written here."""
    return {name: float(number) for number, name in enumerate(shapes, start=1)}


def write_archive(path: Path, shapes: Shapes, *, wrapper: str | None = None) -> Path:
    """A .ckpt file whose tensors are windows on one storage of counting numbers, so that it is
    small; each starts with its number in `markers`."""
    longest = max(math.prod(shape) for shape in shapes.values())
    storage = (torch.arange(longest + len(shapes) + 1) % 2048).half()
    weights: dict = {
        name: storage[number : number + math.prod(shape)].view(shape)
        for number, (name, shape) in enumerate(shapes.items(), start=1)
    }
    torch.save({wrapper: weights, "epoch": 3, "global_step": 7} if wrapper else weights, path)
    return path
