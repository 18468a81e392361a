"""The ingredients of a training, from the files that its options name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import Dinov2Model

from ..checkpoints import read_checkpoint
from ..checkpoints.dinov2 import read_dinov2
from ..comfyui.demo_model import load_demo_model
from ..comfyui.demo_text import CaptionEncoder
from ..comfyui.training_unet import load_base
from ..file_digest import file_sha256
from ..shapes.base_model import is_base_model, open_base_model
from ..shapes.clips import ShapesClips
from .config import TrainingConfig
from .ingredients import Ingredients
from .prepared_clips import PreparedClips
from .samples import SampleVideos
from .validation import SEED

if TYPE_CHECKING:
    from ..comfyui.training_unet import ModelPatcher

_log = logging.getLogger(__name__)

NamedEncoder = tuple[str, Dinov2Model]


def from_files(config: TrainingConfig, *, resume: bool = False) -> Ingredients:
    """Opens everything that `config.files` names.

    Args:
        config: All options.
        resume: Whether the training has begun: then its state stands for `files.init_from`.
    Raises:
        ValueError: If a file is not what its option asks for.
    """
    files = config.files
    assert files.data and files.base, "checked by TrainingConfig.check_files"
    open_world = _shapes_world if is_base_model(files.base) else _prepared_videos
    model, vae, encoder, open_clips = open_world(config, base=files.base)
    clips = open_clips(files.data, config.run.seed, "files.data")
    _log.info("%d clips in %s.", clips.num_clips, files.data)
    return Ingredients(
        model=model,
        clips=clips,
        encoder=encoder,
        initial=read_checkpoint(files.init_from) if files.init_from and not resume else None,
        make_samples=SampleVideos(
            model,
            clips,
            vae=vae,
            encoder=encoder and encoder[1],
            bf16=config.run.bf16,
            cfg=config.run.sample_cfg,
        )
        if config.run.sample_every
        else None,
        validation=open_clips(files.validation, SEED, "files.validation")
        if files.validation
        else None,
    )


OpenClips = Callable[[str, int, str], PreparedClips | ShapesClips]
"""Of a folder, in the order of a seed; last the option that names the folder."""


def _prepared_videos(
    config: TrainingConfig, *, base: str
) -> tuple[ModelPatcher, Any, NamedEncoder | None, OpenClips]:
    """MODEL, VAE, content encoder and clips for a training on SD-1.5."""
    base_sha256 = file_sha256(Path(base))

    def open_clips(folder: str, seed: int, option: str) -> PreparedClips:
        with_references = config.parts.content_encoder
        clips = PreparedClips(folder, seed=seed, with_references=with_references, option=option)
        if base_sha256 != clips.base_sha256:
            _log.warning(
                "%s was encoded with another checkpoint than %s. That is right only if they have "
                "the same VAE and text encoder, as fp16 and fp32 of one model have.",
                folder,
                base,
            )
        return clips

    model, vae = load_base(base, with_vae=bool(config.run.sample_every))
    path = config.files.content_encoder
    if path is None:
        return model, vae, None, open_clips
    dinov2, name = read_dinov2(path)
    return model, vae, (name, dinov2), open_clips


def _shapes_world(
    config: TrainingConfig, *, base: str
) -> tuple[ModelPatcher, Any, NamedEncoder | None, OpenClips]:
    """The same for the tiny base model, whose file holds its VAE and its content encoder."""
    model, _, vae, content_encoder = load_demo_model(base)
    file = open_base_model(base)
    text_encoder = CaptionEncoder(file.config, file.part("text_encoder"))

    def open_clips(folder: str, seed: int, option: str) -> ShapesClips:
        return ShapesClips(Path(folder), file, text_encoder, seed=seed, option=option)

    [module] = content_encoder.patcher.model
    encoder = (content_encoder.name, module) if config.parts.content_encoder else None
    return model, vae, encoder, open_clips
