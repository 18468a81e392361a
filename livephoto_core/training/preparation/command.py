"""The command line of the data preparation."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import torch

from .clip_sampling import ClipConfig
from .preparation import PreparationConfig, PreparationResult, prepare
from .sources import SourceConfig

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `prepare` to a parser."""
    sources, clips = SourceConfig, ClipConfig()
    add = parser.add_argument
    add("--source", type=Path, required=True, help="CSV (WebVid's columns), JSONL or folder")
    add("--output", type=Path, required=True, help="folder of the data set; continued if begun")
    add("--checkpoint", type=Path, required=True, help="SD-1.5 checkpoint that encodes the clips")
    add("--comfyui", type=Path, help="ComfyUI's folder (default: COMFYUI_PATH)")
    add("--videos", type=Path, help="where a CSV's or JSONL's videos lie (default: beside it)")
    add("--video-path", default=sources.video_path, help="CSV: a row's video (%(default)s)")
    add("--caption-column", default=sources.caption_column, help="CSV: captions (%(default)s)")
    add("--shard-of", type=_part, default=sources.part, metavar="I/N", help="do part I of N")
    add("--size", type=_size, default=clips.size_px, metavar="WxH", help="in px (256x256)")
    add("--frames", type=int, default=clips.num_frames, help="per clip (%(default)s)")
    add("--min-stride", type=int, default=clips.strides[0], help="(%(default)s)")
    add("--max-stride", type=int, default=clips.strides[1], help="(%(default)s)")
    add("--seed", type=int, default=clips.seed, help="of strides and places (%(default)s)")
    per_shard, per_batch = PreparationConfig.clips_per_shard, PreparationConfig.clips_per_batch
    add("--clips-per-shard", type=int, default=per_shard, help="a stop loses fewer (%(default)s)")
    add("--clips-per-batch", type=int, default=per_batch, help="encoded together (%(default)s)")
    about = "end if more in a row are missing or unreadable (a tenth, 20 to 1000); 0: never"
    add("--max-unreachable", type=int, metavar="N", help=about)
    add("--workers", type=int, default=_num_workers(), help="that decode (%(default)s)")


def run(arguments: argparse.Namespace) -> PreparationResult:
    """Prepares a data set.

    Raises:
        ValueError: Naming the option to change.
    """
    config = PreparationConfig(
        sources=SourceConfig(
            source=arguments.source,
            videos=arguments.videos,
            video_path=arguments.video_path,
            caption_column=arguments.caption_column,
            part=arguments.shard_of,
        ),
        output=arguments.output,
        clips=ClipConfig(
            size_px=arguments.size,
            num_frames=arguments.frames,
            strides=(arguments.min_stride, arguments.max_stride),
            seed=arguments.seed,
        ),
        clips_per_shard=arguments.clips_per_shard,
        clips_per_batch=arguments.clips_per_batch,
        num_workers=arguments.workers,
        max_unreachable=arguments.max_unreachable,
    )
    # Imported here: ComfyUI has to be found first, and the options checked before it is.
    from ...comfyui.standalone import use_comfyui

    use_comfyui(arguments.comfyui, device="cuda" if torch.cuda.is_available() else "cpu")
    from ...comfyui.encoding import load_checkpoint_encoder

    result = prepare(config, load_checkpoint_encoder(arguments.checkpoint))
    _report(config, result)
    return result


def _report(config: PreparationConfig, result: PreparationResult) -> None:
    _log.info(
        "%d of %d videos were left out; the reasons are in %s.",
        result.num_rejected,
        result.num_videos,
        config.output / "rejected*.jsonl",
    )
    if result.num_clips is None:
        _log.info("%s waits for the other parts of --shard-of.", config.output)
    else:
        _log.info("%s is complete: %d clips.", config.output, result.num_clips)


def _num_workers() -> int:
    # Of the cores that this process may use, where the system tells; a cluster lends some of many.
    is_told = hasattr(os, "sched_getaffinity")
    num_cores = len(os.sched_getaffinity(0)) if is_told else os.cpu_count() or 1
    return min(num_cores, 61)  # a pool on Windows takes no more


def _size(text: str) -> tuple[int, int]:
    return _two_numbers(text, separator="x", example="512x320")


def _part(text: str) -> tuple[int, int]:
    return _two_numbers(text, separator="/", example="1/4")


def _two_numbers(text: str, *, separator: str, example: str) -> tuple[int, int]:
    first, _, second = text.partition(separator)
    if not (first.isdecimal() and second.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected two numbers such as {example}, got {text}")
    return int(first), int(second)
