"""The tiny training in a process of its own, to be killed, or one of several that train together.

`python -m tests.training.train_tiny FOLDER [--resume] [group.name=value …]`
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import tests.comfyui
import tests.models
import tests.training  # noqa: F401 - before ComfyUI's own `tests` comes onto the path
from harness.environment import prepare
from livephoto_core.comfyui.standalone import use_comfyui


def main(folder: str, *arguments: str) -> None:
    torch.set_num_threads(1)
    use_comfyui(prepare().comfyui)
    from livephoto_core.training.loop import train
    from tests.training.tiny_training import RandomClips, ingredients, options

    assignments = [argument for argument in arguments if argument != "--resume"]
    config = options(Path(folder), *assignments)
    validation = RandomClips(first=4) if config.files.validation else None
    train(config, ingredients(validation=validation), resume="--resume" in arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
