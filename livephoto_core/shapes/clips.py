"""Clips of the synthetic world as a training reads them: latents encoded once, captions anew."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..atomic_files import write_atomically
from ..motion_intensity import level_edges, mean_ssim
from ..training.data import ClipFacts, Clips
from .base_model import BaseConfig, BaseModelFile
from .captions import content_caption, full_caption, motion_caption
from .encoded_stream import Stream, encode_pixels, encode_stream, encoder_digest, open_encoded
from .rendering import render_clip
from .scene import MOTIONS, NUM_FRAMES, Scene, check_known
from .split import sample_training_scene, world_digest

FACTS_FILE = "shapes_clips.json"
_PART = 16
_CAPTION_KINDS = (full_caption, motion_caption, content_caption)
_CAPTION_SHARES = (0.7, 0.2, 0.1)
_CAPTION_STREAM = 4
_ARRAYS = ("latents", "ssim", "first_frames")


def encode_clips(
    autoencoder: Any,
    config: BaseConfig,
    folder: Path,
    *,
    num_clips: int,
    seed: int,
    favoured: Sequence[str] = (),
    num_workers: int = 1,
) -> None:
    """Renders and encodes the training clips 0 to `num_clips` − 1 of a stream, and their SSIM.

    Continues what an interrupted call left, and returns at once if all are there.

    Args:
        autoencoder: Of the base model.
        config: Describes the base model.
        folder: Gets the files.
        num_clips: How many; a multiple of 16.
        seed: Names the stream.
        favoured: Motions that are drawn more often than others: once more for each time they are
            named. A level means what it means without them.
        num_workers: Processes that render.
    Raises:
        ValueError: If a motion is unknown, or the folder holds the clips of another autoencoder,
            seed, size, choice of motions or world.
    """
    motions = (*MOTIONS, *favoured)
    for motion in favoured:
        check_known("favoured", motion, MOTIONS)
    stream = Stream(
        name="clips",
        count=num_clips,
        part_size=_PART,
        arrays={
            "latents": ((NUM_FRAMES, *config.latent_shape), np.float16),
            "ssim": ((), np.float32),
            "first_frames": ((config.size_px, config.size_px, 3), np.uint8),
        },
        render=_RenderedClips(seed, config.size_px, motions),
        encode=partial(_encode, autoencoder),
        description={
            "autoencoder": encoder_digest(autoencoder.state_dict()),
            "seed": seed,
            "size_px": config.size_px,
            "favoured": list(favoured),
            "world": world_digest(),
            "arrays": list(_ARRAYS),
        },
    )
    encoded = encode_stream(stream, folder, num_workers=num_workers)
    ssim = np.array(encoded["ssim"])
    if favoured:
        scenes = (sample_training_scene(seed, index, motions=motions) for index in range(num_clips))
        ssim = _as_if_alike(ssim, [scene.motion for scene in scenes], motions)
    edges = level_edges(torch.from_numpy(ssim))
    facts = {**stream.description, "num_clips": num_clips, "ssim_edges": edges}
    write_atomically(folder / FACTS_FILE, json.dumps(facts, indent=1).encode())


class ShapesClips:
    """The clips of a folder that `encode_clips` wrote; a `training.data.ClipSource`.

    Captions are worded anew each time a clip is read: seven of ten tell content and motion, two the
    motion alone, one the content alone.

    Args:
        folder: Of the clips.
        base: The base model.
        text_encoder: Of the base model, see `comfyui.demo_text.CaptionEncoder`.
        seed: Of the order and the wordings.
        option: That names the folder, for errors.
    Raises:
        ValueError: If the folder holds no complete set of clips for this base model.
    """

    def __init__(
        self,
        folder: Path,
        base: BaseModelFile,
        text_encoder: Any,
        *,
        seed: int,
        option: str = "files.data",
    ) -> None:
        config, description = base.config, _read_facts(folder, base, option)
        encoded = open_encoded(folder, _ARRAYS)
        self._latents, self._ssim, self._first_frames = (encoded[name] for name in _ARRAYS)
        self._stream_seed = description["seed"]
        self._motions = (*MOTIONS, *description["favoured"])
        self._text_encoder, self._seed = text_encoder, seed
        self._order = lru_cache(2)(self._make_order)
        self._scene = cache(self._draw_scene)
        self.facts = ClipFacts(
            num_frames=self._latents.shape[1],
            size_px=(config.size_px, config.size_px),
            latent_channels=self._latents.shape[2],
            context_dim=config.unet.context_dim,
            ssim_edges=tuple(description["ssim_edges"]),
            empty_text=text_encoder([""])[0],
        )

    @property
    def num_clips(self) -> int:
        """Clips in an epoch."""
        return len(self._latents)

    def load(self, numbers: Sequence[int]) -> Clips:
        """The clips of these numbers; see `ClipSource`."""
        epochs = [divmod(number, self.num_clips) for number in numbers]
        indices = [int(self._order(epoch)[position]) for epoch, position in epochs]
        captions = tuple(map(self._caption, map(self._scene, indices), numbers))
        return Clips(
            latents=torch.from_numpy(self._latents[indices].astype(np.float32)),
            text=self._text_encoder(captions),
            references=torch.from_numpy(self._first_frames[indices]).float() / 255,
            ssim=tuple(self._ssim[indices].tolist()),
            captions=captions,
        )

    def _caption(self, scene: Scene, number: int) -> str:
        rng = np.random.default_rng((self._seed, number, _CAPTION_STREAM))
        kind = _CAPTION_KINDS[int(rng.choice(len(_CAPTION_KINDS), p=_CAPTION_SHARES))]
        return kind(scene, int(rng.integers(2**31)))

    def _draw_scene(self, index: int) -> Scene:
        return sample_training_scene(self._stream_seed, index, motions=self._motions)

    def _make_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(self.num_clips)


@dataclass(frozen=True)
class _RenderedClips:
    seed: int
    size_px: int
    motions: tuple[str, ...]

    def __call__(self, part: int) -> tuple[Tensor, list[float]]:
        indices = range(part * _PART, (part + 1) * _PART)
        scenes = [
            sample_training_scene(self.seed, index, motions=self.motions) for index in indices
        ]
        clips = torch.stack([render_clip(scene, size_px=self.size_px) for scene in scenes])
        return clips, [mean_ssim(clip) for clip in clips]


def _as_if_alike(ssim: np.ndarray, drawn: Sequence[str], motions: Sequence[str]) -> np.ndarray:
    """Repeats the values of clips so that each motion counts as if it had been drawn alike."""
    times = Counter(motions)
    share = math.lcm(*times.values())
    return np.repeat(ssim, [share // times[motion] for motion in drawn])


def _encode(autoencoder: Any, part: tuple[Tensor, list[float]]) -> dict[str, np.ndarray]:
    clips, ssim = part
    pixels = rearrange(clips, "b f h w c -> (b f) c h w").contiguous() * 2 - 1
    latents = encode_pixels(autoencoder, pixels)
    return {
        "latents": rearrange(latents, "(b f) c h w -> b f c h w", b=len(clips)),
        "ssim": np.array(ssim, dtype=np.float32),
        # In 8 bits, as a picture that is given to the trained model has them.
        "first_frames": (clips[:, 0] * 255).round().to(torch.uint8).numpy(),
    }


def _read_facts(folder: Path, base: BaseModelFile, option: str) -> dict[str, Any]:
    path = folder / FACTS_FILE
    if not path.is_file():
        raise ValueError(
            f"{option}: {folder} has no {FACTS_FILE}. Make the clips with "
            "`python -m livephoto_core.shapes clips`, or let it finish."
        )
    facts = json.loads(path.read_text())
    if facts["autoencoder"] != encoder_digest(base.part("autoencoder")):
        raise ValueError(
            f"{option}: the clips of {folder} were encoded by another autoencoder than that of "
            "files.base. Make the clips with that base model."
        )
    if facts.get("world") != world_digest() or facts.get("arrays") != list(_ARRAYS):
        raise ValueError(
            f"{option}: the clips of {folder} were made by another version of the pack, which "
            "draws or keeps them otherwise. Make them anew with `python -m livephoto_core.shapes "
            "clips`."
        )
    return facts
