"""The patch-token encoder: what is where in a frame, as tokens that know shape, colour and pose.

DINOv2 learns from millions of photos without labels. Our choice for a world whose labels are known
in closed form: every patch token must tell, through one linear layer, which shape and colour covers
the patch, how much of it, the patch's mean colour, and where in the upright shape it lies. That
layer is thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

from ...comfyui.demo_modules import build_content_encoder
from ...models.content_encoder import TOKENS_PER_SIDE, dinov2_pixels, load_dinov2_weights
from ..base_model import BaseConfig, BaseModelFile
from ..motion_paths import poses_at
from ..rendering import checked_grid, draw_second_shape, draw_shape, render_moments
from ..scene import COLOURS, SHAPES, Scene
from ..silhouettes import local_coordinates, pixel_grid
from .contact_sheet import write_contact_sheet
from .loop import Batch, LoopOptions
from .pictures import Picture, PictureMix, sample_picture

_CRISP = PictureMix(crisp_content=0.5, crisp_changed=0, crisp_full=0.5, cue_full=0, cue_motion=0)
_SIZES = (len(SHAPES), len(COLOURS), 1, 3, 2)
"""Shape, colour and spot as coverage, mean RGB, place in the upright shape."""

_NUM_COVERAGES = sum(_SIZES[:3])
_COVERED = 0.5
_FURTHEST_PLACE = 1.5
_NUM_SHOWN = 8


class ContentEncoderTask:
    """Dense labels from patch tokens.

    loss = cross-entropy of the coverages + squared error of the mean RGB
         + where the shape covers the patch: cross-entropy of shape and of colour,
           squared error of the place

    Few patches are covered: the coverages alone teach colours and hardly any shapes.

    Args:
        config: Describes the encoder.
        options: Seed and batch size.
        start: Base model whose encoder it starts from; none starts from random weights.
    """

    def __init__(
        self, config: BaseConfig, options: LoopOptions, *, start: BaseModelFile | None = None
    ) -> None:
        self.config, self.options = config, options
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            encoder = build_content_encoder(config)
            if start:
                load_dinov2_weights(encoder, start.part("content_encoder"))
            head = nn.Linear(config.content_encoder.width, sum(_SIZES))
        self.module: Any = nn.ModuleDict({"encoder": encoder, "head": head})

    def make_batch(self, step: int) -> Batch:
        """Crisp frames as the encoder sees them (b 3 224 224), and labels (b 256 n)."""
        first, seed = step * self.options.batch_size, self.options.seed
        return self._batch(
            sample_picture(seed, first + n, _CRISP) for n in range(self.options.batch_size)
        )

    def held_out_batch(self, count: int) -> Batch:
        """The same of combinations that training never sees."""
        seed = self.options.seed + 1
        return self._batch(sample_picture(seed, n, _CRISP, held_out=True) for n in range(count))

    def _batch(self, chosen: Iterable[Picture]) -> Batch:
        pictures = list(chosen)
        images = [
            render_moments(picture.scene, torch.tensor([picture.time]), self.config.size_px)
            for picture in pictures
        ]
        labels = [
            patch_labels(picture.scene, picture.time, image)
            for picture, image in zip(pictures, images, strict=True)
        ]
        size_px = TOKENS_PER_SIDE * self.module["encoder"].config.patch_size
        return {"pixels": dinov2_pixels(torch.cat(images), size_px), "labels": torch.stack(labels)}

    def loss(self, module: Any, batch: Batch, generator: torch.Generator) -> Tensor:  # noqa: ARG002 - nothing random
        """See the class."""
        guesses, labels = self._guess(module, batch["pixels"]), batch["labels"]
        coverages = F.binary_cross_entropy_with_logits(
            guesses[..., :_NUM_COVERAGES], labels[..., :_NUM_COVERAGES]
        )
        rgb, place = (
            (guesses[..., part] - labels[..., part]).square().mean(dim=-1)
            for part in (slice(_NUM_COVERAGES, -2), slice(-2, None))
        )
        covered = labels[..., : _SIZES[0]].amax(dim=-1)
        shape, colour = (
            F.cross_entropy(guess.movedim(-1, 1), label.argmax(dim=-1), reduction="none")
            for guess, label in zip(
                guesses.split(_SIZES, dim=-1)[:2], labels.split(_SIZES, dim=-1)[:2], strict=True
            )
        )
        of_shape = (shape + colour + place) * covered
        return coverages + rgb.mean() + of_shape.sum() / covered.sum().clamp(min=1)

    def measure(self, module: Any, batch: Batch) -> dict[str, float]:
        """Share of covered patches whose shape and colour are told right; error of the place."""
        guesses, labels = self._guess(module, batch["pixels"]), batch["labels"]
        shape, colour, _, _, place = guesses.split(_SIZES, dim=-1)
        true_shape, true_colour, _, _, true_place = labels.split(_SIZES, dim=-1)
        covered = true_shape.amax(dim=-1) > _COVERED
        right = {
            "shape_accuracy": shape.argmax(-1) == true_shape.argmax(-1),
            "colour_accuracy": colour.argmax(-1) == true_colour.argmax(-1),
        }
        error = (place - true_place).norm(dim=-1)[covered].mean().item()
        return {
            **{name: is_right[covered].float().mean().item() for name, is_right in right.items()},
            "place_error_radii": error,
        }

    def show(self, module: Any, path: Path) -> None:
        """Frames above the coverage that the tokens tell, by colour."""
        batch = self.make_batch(0)
        pixels = batch["pixels"][:_NUM_SHOWN].to(self.options.device)
        colours = self._guess(module, pixels).split(_SIZES, dim=-1)[1].sigmoid()
        painted = (colours @ torch.tensor(list(COLOURS.values())).to(colours)).clamp(0, 1)
        maps = rearrange(painted, "b (h w) c -> b c h w", h=TOKENS_PER_SIDE)
        maps = F.interpolate(maps, pixels.shape[-2:], mode="nearest")
        write_contact_sheet(path, torch.cat([pixels, maps * 2 - 1]), num_columns=len(pixels))

    def _guess(self, module: Any, pixels: Tensor) -> Tensor:
        return module["head"](module["encoder"](pixels).last_hidden_state[:, 1:]).float()


def patch_labels(scene: Scene, time: float, image: Tensor) -> Tensor:
    """What each patch of a frame shows.

    Args:
        scene: What happens.
        time: Moment of the clip, in frames.
        image: That frame, (1 h w 3), 0 to 1.
    Returns:
        (256 n): coverage by a shape of each kind and of each colour, and by a white spot; mean RGB;
        place in the upright shape, in radii.
    """
    poses, grid = poses_at(scene, torch.tensor([time])), checked_grid(image.shape[1])
    first, second = (
        draw_shape(scene, grid, poses),
        draw_second_shape(scene, grid, poses.second_radius),
    )
    covered, spotted = (
        F.adaptive_avg_pool2d(torch.maximum(one, other), TOKENS_PER_SIDE)
        for one, other in zip(first, second, strict=True)
    )
    places = local_coordinates(
        pixel_grid(TOKENS_PER_SIDE), centre=poses.centre, radius=poses.radius, angle=poses.angle
    )
    layers = [
        covered * _one_hot(SHAPES.index(scene.shape), len(SHAPES)),
        covered * _one_hot(list(COLOURS).index(scene.colour), len(COLOURS)),
        spotted,
        F.adaptive_avg_pool2d(image[0].movedim(-1, 0), TOKENS_PER_SIDE),
        torch.cat(places).clamp(-_FURTHEST_PLACE, _FURTHEST_PLACE),
    ]
    return rearrange(torch.cat(layers), "n h w -> (h w) n")


def _one_hot(index: int, count: int) -> Tensor:
    return repeat(F.one_hot(torch.tensor(index), count).float(), "n -> n 1 1")
