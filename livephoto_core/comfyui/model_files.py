"""Where weight files lie, as ComfyUI's folder lists know them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import folder_paths

from ..shapes.shipped import LIVEPHOTO_PATH

_CHECKPOINTS = ("livephoto", "animatediff_models")
_MOTION_LORAS = "animatediff_motion_lora"
_CONTENT_ENCODERS = "clip_vision"


def register_folders() -> None:
    """Makes ComfyUI look into models/livephoto, AnimateDiff's usual folders, and the pack's own.

    Those in models/ are made, so that an artist finds where files belong. Folders that
    extra_model_paths.yaml or another pack already registered are kept.
    """
    for name in (*_CHECKPOINTS, _MOTION_LORAS):
        folder = Path(folder_paths.models_dir) / name
        with contextlib.suppress(OSError):  # models/ may be shared, and not ours to write to
            folder.mkdir(parents=True, exist_ok=True)
        folder_paths.add_model_folder_path(name, str(folder))
        paths, extensions = folder_paths.folder_names_and_paths[name]
        # A name that is new to ComfyUI has no extensions, and would list every file.
        extensions = set(extensions) | folder_paths.supported_pt_extensions
        folder_paths.folder_names_and_paths[name] = (paths, extensions)
    folder_paths.add_model_folder_path("livephoto", str(LIVEPHOTO_PATH.parent))


def checkpoint_names() -> list[str]:
    """Motion checkpoints of all folders; a name that occurs twice carries its folder.

    The pack's own comes last: a new node takes the first, and whoever has others wants one of them.
    """
    seen: set[str] = set()
    names = []
    for folder in _CHECKPOINTS:
        for name in folder_paths.get_filename_list(folder):
            names.append(f"{folder}/{name}" if name in seen else name)
            seen.add(name)
    return sorted(names, key=lambda name: name == LIVEPHOTO_PATH.name)


def checkpoint_path(name: str) -> Path:
    """Path of a name from `checkpoint_names`.

    Raises:
        ValueError: If the file is gone.
    """
    for folder in _CHECKPOINTS:
        path = folder_paths.get_full_path(folder, name)
        if path is None and name.startswith(f"{folder}/"):
            path = folder_paths.get_full_path(folder, name.removeprefix(f"{folder}/"))
        if path is not None:
            return Path(path)
    raise ValueError(_missing(name, "models/livephoto or models/animatediff_models"))


def motion_lora_names() -> list[str]:
    """AnimateDiff motion LoRAs."""
    return folder_paths.get_filename_list(_MOTION_LORAS)


def motion_lora_path(name: str) -> Path:
    """Path of a motion LoRA.

    Raises:
        ValueError: If the file is gone.
    """
    return _path(_MOTION_LORAS, name)


def content_encoder_names() -> list[str]:
    """Image encoders, of all kinds: which one is a DINOv2 is known when it is read."""
    return folder_paths.get_filename_list(_CONTENT_ENCODERS)


def content_encoder_path(name: str) -> Path:
    """Path of an image encoder.

    Raises:
        ValueError: If the file is gone.
    """
    return _path(_CONTENT_ENCODERS, name)


def fingerprint(path: Path) -> tuple[str, int, int]:
    """Changes when the file does."""
    stat = path.stat()
    return str(path), stat.st_mtime_ns, stat.st_size


def _path(folder: str, name: str) -> Path:
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        raise ValueError(_missing(name, f"models/{folder}"))
    return Path(path)


def _missing(name: str, folder: str) -> str:
    return f"file: {name} is not in {folder} any more. Put it back, or press R to refresh the list."
