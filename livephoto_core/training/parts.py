"""Which parts a training builds, where their first weights come from, and which of them train."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..checkpoints import Checkpoint
from ..models.config import (
    ContentConfig,
    InputChannels,
    InputConditioningConfig,
    LivePhotoConfig,
    MotionConfig,
    NoiseSchedule,
    TextReweightingConfig,
    UNetLayout,
)
from ..models.input_conditioning import channel_slices
from ..models.livephoto import LivePhoto
from .data import ClipFacts

PartName = Literal["motion", "input", "content", "text", "adapters"]

_MODULES: dict[PartName, str] = {
    "motion": "motion",
    "input": "input_conditioning",
    "content": "content",
    "text": "text_reweighting",
    "adapters": "text_adapters",
}
_INPUT_WEIGHT = "input_conditioning.conv.weight"
_DEFAULT_POSITIONS = 32


@dataclass(frozen=True)
class PartsOptions:
    """The paper's ablations as switches, and what stays as it was loaded.

    Args:
        reference_latent: The reference latent beside the noise latent (table 1).
        content_encoder: Content tokens of DINOv2 (table 1).
        intensity: The motion intensity as an input channel (table 2).
        text_reweighting: A weight for every word and frame (table 2).
        text_adapters: Text tokens adapted before the base's keys and values; not in the paper.
        frozen: Parts that do not train, of motion, input, content, text and adapters; as PIA trains
            on top of given motion modules. They must come from `files.init_from`.
    """

    reference_latent: bool = True
    content_encoder: bool = True
    intensity: bool = True
    text_reweighting: bool = True
    text_adapters: bool = False
    frozen: tuple[PartName, ...] = ()

    def check(self) -> None:
        """Raises ValueError naming the option that is out of range."""
        known = get_args(PartName)
        built = {"motion", "input"}
        built |= {"content"} if self.content_encoder else set()
        built |= {"text"} if self.text_reweighting else set()
        built |= {"adapters"} if self.text_adapters else set()
        for name in self.frozen:
            if name not in known:
                raise ValueError(f"parts.frozen names parts of {', '.join(known)}, got {name!r}.")
            if name not in built:
                raise ValueError(
                    f"parts.frozen: {name!r} is switched off in this training, so it cannot be "
                    "frozen. Take it out of parts.frozen."
                )
        if built <= set(self.frozen):
            raise ValueError("parts.frozen: nothing is left to train. Name fewer parts.")


def checkpoint_config(
    options: PartsOptions,
    *,
    layout: UNetLayout,
    facts: ClipFacts,
    encoder: tuple[str, int] | None,
    schedule: NoiseSchedule | None = None,
    initial: LivePhotoConfig | None = None,
) -> LivePhotoConfig:
    """Description of the checkpoint that the training will write.

    Args:
        options: Which parts.
        layout: Of the base model.
        facts: Of the clips.
        encoder: Name and token width of the content encoder; `None` without content tokens.
        schedule: Noise schedule; `None` takes that of `initial`, else Stable Diffusion's.
        initial: Of the file that training starts from: its motion modules decide on positions,
            noise schedule and how the base normalises.
    Raises:
        ValueError: If the clips are longer than the initial motion modules can take.
    """
    switches: dict[InputChannels, bool] = {
        "reference": options.reference_latent,
        "intensity": options.intensity,
        "frame": True,
    }
    motion = _motion_config(layout, facts, initial and initial.motion)
    default: NoiseSchedule = initial.noise_schedule if initial else "scaled_linear"
    return LivePhotoConfig(
        layout=layout,
        motion=motion,
        input_conditioning=InputConditioningConfig(
            tuple(name for name, is_on in switches.items() if is_on)
        ),
        content=encoder
        and ContentConfig(encoder=encoder[0], encoder_dim=encoder[1], token_dim=layout.context_dim),
        text_reweighting=TextReweightingConfig(
            num_heads=layout.num_heads, num_frames=facts.num_frames
        )
        if options.text_reweighting
        else None,
        num_frames=facts.num_frames,
        training_size_px=facts.size_px,
        ssim_edges=facts.ssim_edges,
        noise_schedule=schedule or default,
        cross_frame_group_norm=initial.cross_frame_group_norm if initial else False,
        text_adapters=options.text_adapters,
    )


def _motion_config(
    layout: UNetLayout, facts: ClipFacts, initial: MotionConfig | None
) -> MotionConfig:
    if initial is None:
        length = max(_DEFAULT_POSITIONS, facts.num_frames)
        return MotionConfig(position_length=length, num_heads=layout.num_heads)
    if facts.num_frames > initial.max_frames:
        raise ValueError(
            f"files.init_from: its motion modules place {initial.max_frames} frames, the clips of "
            f"files.data have {facts.num_frames}. Prepare shorter clips, or start without a file."
        )
    return MotionConfig(position_length=initial.position_length, num_heads=initial.num_heads)


def build_parts(
    config: LivePhotoConfig,
    *,
    seed: int,
    initial: Checkpoint | None = None,
    frozen: tuple[PartName, ...] = (),
) -> LivePhoto:
    """The modules of `config` in fp32, with the weights to start from.

    Weights of `initial` are taken over by name, those of the input convolution by the channel they
    read; everything else starts as `LivePhoto.initialise_weights` says. Both are said in the log.

    Args:
        config: Which parts.
        seed: Of the new weights; the global generator is left as it is.
        initial: AnimateDiff, PIA or native checkpoint.
        frozen: Parts that will not train.
    Raises:
        ValueError: If the file's weights have other shapes, or none of them is of use, or none
            belongs to a part that will not train.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = LivePhoto(config, dtype=torch.float32)
        parts.initialise_weights()
    if initial is not None:
        _check_frozen(frozen, initial)
        _take_over(parts, initial)
    return parts


def freeze(parts: LivePhoto, names: tuple[PartName, ...]) -> None:
    """Leaves only the other parts to train."""
    parts.requires_grad_(True)
    for name in names:
        module = parts.get_submodule(_MODULES[name])
        module.requires_grad_(False)


def _check_frozen(names: tuple[PartName, ...], initial: Checkpoint) -> None:
    given = {name.split(".")[0] for name in initial.state_dict}
    for name in names:
        if _MODULES[name] not in given:
            raise ValueError(
                f"parts.frozen: files.init_from has no weights of {name}, so it would stay without "
                "any training. Take it out of parts.frozen, or start from a file that has them."
            )


def _take_over(parts: LivePhoto, initial: Checkpoint) -> None:
    own = parts.state_dict()
    layout = parts.config.layout
    if replace(initial.config.layout, attention_levels=layout.attention_levels) != layout:
        raise ValueError(
            f"files.init_from is for a UNet of {initial.config.layout.block_channels} channels, "
            f"files.base has {layout.block_channels}. Choose a file made for it."
        )
    taken = {name: tensor for name, tensor in initial.state_dict.items() if name in own}
    if _INPUT_WEIGHT in taken:
        taken[_INPUT_WEIGHT] = _input_weight(own[_INPUT_WEIGHT], parts.config, initial)
    for name, tensor in taken.items():
        if tensor.shape != own[name].shape:
            raise ValueError(
                f"files.init_from: {name} is {tuple(tensor.shape)}, this training needs "
                f"{tuple(own[name].shape)}. Set the options of parts as that file has them."
            )
    if not taken:
        raise ValueError("files.init_from holds no weight of the parts that are switched on.")
    parts.load_state_dict({**own, **{name: tensor.float() for name, tensor in taken.items()}})
    _report(own, taken, initial.state_dict)


def _input_weight(own: Tensor, config: LivePhotoConfig, initial: Checkpoint) -> Tensor:
    """Filters of the channels that both have; PIA's affinity has no counterpart here."""
    theirs = _channel_slices(initial.config)
    weight = own.clone()
    for name, place in _channel_slices(config).items():
        if name in theirs:
            weight[:, place] = initial.state_dict[_INPUT_WEIGHT][:, theirs[name]].float()
    return weight


def _channel_slices(config: LivePhotoConfig) -> dict[str, slice]:
    added, latent_channels = config.input_conditioning, config.layout.latent_channels
    return {} if added is None else channel_slices(added, latent_channels)


def _report(
    own: Mapping[str, Tensor], taken: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> None:
    log = logging.getLogger(__name__)
    for part in dict.fromkeys(name.split(".")[0] for name in [*own, *given]):
        in_part = [name for name in own if name.startswith(f"{part}.")]
        new = [name for name in in_part if name not in taken]
        unused = [name for name in given if name.startswith(f"{part}.") and name not in own]
        log.info(
            "%s: %d of %d weights from files.init_from%s%s.",
            part,
            len(in_part) - len(new),
            len(in_part),
            f", the others new (such as {new[0]})" if new else "",
            f"; {len(unused)} of the file are not used" if unused else "",
        )


def trainable(parts: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that train, by name."""
    return {name: p for name, p in parts.named_parameters() if p.requires_grad}
