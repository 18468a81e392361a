"""The ingredients of a training, from the files that its options name."""

from __future__ import annotations

import logging
from pathlib import Path

from transformers import Dinov2Model

from ..checkpoints import Checkpoint, read_checkpoint
from ..checkpoints.weight_file import open_weight_file
from ..comfyui.demo_model import load_demo_model
from ..comfyui.demo_text import CaptionEncoder
from ..comfyui.training_unet import load_base
from ..models.content_encoder import build_dinov2
from ..shapes.base_model import is_base_model, open_base_model
from ..shapes.clips import ShapesClips
from .config import TrainingConfig
from .ingredients import Ingredients
from .samples import SampleVideos
from .shards import PreparedClips


def from_files(config: TrainingConfig) -> Ingredients:
    """Opens everything that `config.files` names.

    Raises:
        ValueError: If a file is not what its option asks for.
    """
    files = config.files
    assert files.data and files.base, "checked by TrainingConfig.check_files"
    if is_base_model(files.base):
        return _of_shapes_world(config, Path(files.data), Path(files.base))
    clips = PreparedClips(
        files.data, seed=config.run.seed, with_references=config.parts.content_encoder
    )
    logging.getLogger(__name__).info("%d clips in %s.", clips.num_clips, files.data)
    model, vae = load_base(files.base, with_vae=bool(config.run.sample_every))
    encoder = _content_encoder(files.content_encoder) if files.content_encoder else None
    return Ingredients(
        model=model,
        clips=clips,
        encoder=encoder,
        initial=_initial(config),
        make_samples=SampleVideos(model, clips, encoder=encoder and encoder[1], vae=vae),
    )


def _of_shapes_world(config: TrainingConfig, data: Path, base: Path) -> Ingredients:
    """The tiny base model brings its VAE and its content encoder in one file."""
    model, _, vae, content_encoder = load_demo_model(base)
    file = open_base_model(base)
    text_encoder = CaptionEncoder(file.config, file.part("text_encoder"))
    clips = ShapesClips(data, file.config, text_encoder, seed=config.run.seed)
    logging.getLogger(__name__).info("%d clips in %s.", clips.num_clips, data)
    [module] = content_encoder.patcher.model
    encoder = (content_encoder.name, module) if config.parts.content_encoder else None
    return Ingredients(
        model=model,
        clips=clips,
        encoder=encoder,
        initial=_initial(config),
        make_samples=SampleVideos(model, clips, encoder=encoder and encoder[1], vae=vae),
    )


def _initial(config: TrainingConfig) -> Checkpoint | None:
    path = config.files.init_from
    return read_checkpoint(path) if path else None


def _content_encoder(path: str) -> tuple[str, Dinov2Model]:
    file = open_weight_file(path)
    model, name = build_dinov2({name: file.load(name) for name in file.tensors})
    return name, model
