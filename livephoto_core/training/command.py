"""`python -m livephoto_core.training train`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import torch

from .config import TrainingConfig, read_options, set_options
from .option_help import explain_options
from .presets import PRESETS, find_preset

_FILES = ("data", "base", "output", "content_encoder", "init_from")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Trains a LivePhoto checkpoint. Presets:\n\n" + "\n\n".join(
        f"{name}: {preset.purpose}\n  cost: {preset.cost}\n  score: {preset.expected_score}"
        for name, preset in PRESETS.items()
    )
    parser.add_argument("--preset", help="options to start from")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="GROUP.NAME=VALUE",
        help="set one option; may be repeated",
    )
    parser.add_argument(
        "--options", action="store_true", help="print all options as they would be, and end"
    )
    parser.add_argument("--comfyui", metavar="PATH", help="ComfyUI's folder (or COMFYUI_PATH)")
    parser.add_argument("--resume", metavar="FOLDER", help="go on with the training in FOLDER")
    for name in _FILES:
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, metavar="PATH", help=f"short for --set files.{name}=PATH")


def run(namespace: argparse.Namespace) -> None:
    """Trains.

    Raises:
        ValueError: If options or files cannot be used; the message names the option to change.
    """
    config = configuration(namespace)
    if namespace.options:
        sys.stdout.write(explain_options(config) + "\n")
        return
    config.check()
    resume = namespace.resume is not None
    config.check_files(resume=resume)
    _check_processes()
    # Imported here: ComfyUI has to be found first, and the options checked before it is.
    from ..comfyui.standalone import use_comfyui

    use_comfyui(namespace.comfyui, device=_choose_device())
    from .assembly import from_files
    from .loop import train

    try:
        folder = train(config, from_files(config, resume=resume), resume=resume)
    except torch.OutOfMemoryError as error:
        raise ValueError(_advice_on_memory(config, error)) from error
    logging.getLogger(__name__).info("Done: checkpoints are in %s.", folder / "checkpoints")


def _advice_on_memory(config: TrainingConfig, error: torch.OutOfMemoryError) -> str:
    run, less = config.run, []
    if run.batch_size > 1:
        fewer = [n for n in range(1, run.batch_size // 2 + 1) if run.batch_size % n == 0]
        half = fewer[-1]
        accumulation = run.accumulation * run.batch_size // half
        less.append(
            f"--set run.batch_size={half} --set run.accumulation={accumulation} (as many clips a "
            "step)"
        )
    if not run.recompute:
        less.append("--set run.recompute=true")
    if not run.bf16 and torch.cuda.is_bf16_supported(including_emulation=False):
        less.append("--set run.bf16=true")
    first = str(error).partition(". ")[0]
    return f"The GPU's memory does not suffice: {first}. " + (
        f"Give {' or '.join(less)}." if less else "Nothing takes less than these options."
    )


def _check_processes() -> None:
    num_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if 0 < num_gpus < num_processes:
        raise ValueError(
            f"--nproc_per_node {num_processes}: {num_gpus} GPU(s) for {num_processes} processes. "
            'Start one for each GPU, or set CUDA_VISIBLE_DEVICES="" to train on the CPU.'
        )


def _choose_device() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    # ComfyUI opens the current GPU when it is imported: each process shall open its own.
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return "cuda"


def configuration(namespace: argparse.Namespace) -> TrainingConfig:
    """The options of a command line.

    Raises:
        ValueError: If an option is unknown or out of place beside `--resume`.
    """
    if namespace.resume and namespace.preset:
        raise ValueError("--preset starts a training, --resume goes on with one: give only one.")
    if namespace.resume:
        config = read_options(Path(namespace.resume))
    else:
        config = find_preset(namespace.preset).config if namespace.preset else TrainingConfig()
    given = {name: getattr(namespace, name) for name in _FILES}
    files = [f"files.{name}={path}" for name, path in given.items() if path is not None]
    moved = [f"files.output={namespace.resume}"] if namespace.resume else []
    begun = config.files.init_from
    config = set_options(config, [*moved, *files, *namespace.set])
    if namespace.resume and config.files.init_from != begun:
        raise ValueError(
            f"files.init_from is {config.files.init_from}, but the training in {namespace.resume} "
            f"was started with {begun}, and goes on from its own state. Leave it out."
        )
    if namespace.resume and config.files.output != namespace.resume:
        raise ValueError(
            f"files.output is {config.files.output}, but --resume goes on in {namespace.resume}. "
            "Leave files.output out."
        )
    return config
