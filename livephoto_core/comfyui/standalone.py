"""ComfyUI's modules outside of a running ComfyUI, for the pack's command lines."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import torch

PATH_VARIABLE = "COMFYUI_PATH"


def hide_progress() -> None:
    """Switches ComfyUI's bar of sampling steps off, for a caller that has one of its own."""
    import comfy.utils

    comfy.utils.set_progress_bar_enabled(False)


def check_device(device: str) -> None:
    """Raises ValueError for "cuda" where PyTorch sees no GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "--device cuda: PyTorch sees no GPU here. Give --device cpu, or use a PyTorch that was "
            "built for CUDA on a machine with an NVIDIA GPU."
        )


def use_comfyui(path: str | os.PathLike[str] | None = None, *, device: str = "cpu") -> None:
    """Makes `import comfy` work, and sets ComfyUI up for a command line.

    Must come before anything imports `comfy`: ComfyUI chooses its device and its attention when it
    is imported. PyTorch's attention is the one that is fast on a CPU and has a gradient.

    Args:
        path: ComfyUI's folder; by default what the environment variable COMFYUI_PATH says.
        device: "cpu" or "cuda".
    Raises:
        ValueError: If there is no ComfyUI, or no GPU for "cuda".
    """
    check_device(device)
    folder = path or os.environ.get(PATH_VARIABLE)
    if folder:
        if not (Path(folder) / "comfy" / "sd.py").is_file():
            raise ValueError(
                f"There is no ComfyUI in {folder}. Give --comfyui (or {PATH_VARIABLE}) the folder "
                "that holds ComfyUI's main.py."
            )
        # First, or the pack's own `nodes` would be taken for ComfyUI's nodes.py.
        if str(Path(folder).resolve()) not in sys.path:
            sys.path.insert(0, str(Path(folder).resolve()))
    elif importlib.util.find_spec("comfy") is None:
        raise ValueError(
            "The pack builds its models from ComfyUI's classes, and no ComfyUI was named. Give "
            f"--comfyui (or set {PATH_VARIABLE} to) the folder that holds ComfyUI's main.py."
        )
    from comfy.cli_args import args

    args.cpu = device == "cpu"
    args.use_pytorch_cross_attention = True
