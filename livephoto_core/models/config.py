"""What a LivePhoto checkpoint carries, as plain data.

Every part is optional: a part that is `None` is not built and not hooked in. The same description
is stored in a native file's metadata, recovered from the shapes of a public AnimateDiff or PIA
file, and handed to `livephoto_core.models.livephoto.LivePhoto` to build the modules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

NoiseSchedule = Literal["scaled_linear", "linear"]
"""Beta schedules by their diffusers names: `scaled_linear` is Stable Diffusion's (ComfyUI and ldm
call it "linear"), `linear` is AnimateDiff's (ComfyUI and ldm call it "sqrt_linear")."""

MotionKind = Literal[
    "LivePhoto", "AnimateDiff v1", "AnimateDiff v2", "AnimateDiff v3", "AnimateLCM", "PIA"
]

InputChannels = Literal["reference", "intensity", "frame", "affinity"]

DEFAULT_POSITION_LENGTH = 64
"""Rows of the sinusoidal encoding made for files that store none (AnimateLCM)."""


@dataclass(frozen=True)
class UNetLayout:
    """Where a UNet of the SD-1.5 family has its blocks, and how wide they are.

    Args:
        block_channels: Channels of each resolution level, from fine to coarse.
        layers_per_block: ResBlocks per level on the way down (one more on the way up).
        attention_levels: Levels that have a SpatialTransformer after each ResBlock. The middle
            block always has one.
        context_dim: Width of a text token.
        num_heads: Attention heads of the SpatialTransformers.
        latent_channels: Channels of the noise latent.
    """

    block_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attention_levels: tuple[int, ...] = (0, 1, 2)
    context_dim: int = 768
    num_heads: int = 8
    latent_channels: int = 4


SD15 = UNetLayout()


@dataclass(frozen=True)
class MotionConfig:
    """Motion modules in AnimateDiff's layout.

    Args:
        kind: Where the layout comes from; shown to the user.
        position_length: Rows of the positional encoding: the most frames one pass can hold. `None`
            where the file stores none (AnimateLCM): then `DEFAULT_POSITION_LENGTH` sinusoids are
            made.
        has_middle: Whether the middle block has a motion module (v2, AnimateLCM, LivePhoto).
        num_heads: Heads of the temporal attention.
    """

    kind: MotionKind = "LivePhoto"
    position_length: int | None = 32
    has_middle: bool = True
    num_heads: int = 8

    @property
    def max_frames(self) -> int:
        """The most frames that one pass through the UNet can hold."""
        return self.position_length or DEFAULT_POSITION_LENGTH


@dataclass(frozen=True)
class InputConditioningConfig:
    """Channels that are concatenated to the noise latent at the UNet's input.

    Args:
        channels: Their order. LivePhoto: reference, intensity, frame. PIA: affinity, reference.
            "reference" is as wide as a latent, the others have one channel each.
    """

    channels: tuple[InputChannels, ...] = ("reference", "intensity", "frame")


@dataclass(frozen=True)
class ContentConfig:
    """Content tokens of a frozen DINOv2, injected by added cross-attention.

    Args:
        encoder: Name of the encoder the weights were trained with, such as "dinov2-large".
        encoder_dim: Width of its patch tokens.
        token_dim: Width after the learnable linear projection.
    """

    encoder: str = "dinov2-large"
    encoder_dim: int = 1024
    token_dim: int = 768


@dataclass(frozen=True)
class TextReweightingConfig:
    """The text re-weighting module (LivePhoto, section 3.5, figure 3).

    Args:
        num_layers: Transformer encoder layers.
        num_heads: Heads of each layer.
        num_frames: Outputs of the frame-specific linear layer.
    """

    num_layers: int = 3
    num_heads: int = 8
    num_frames: int = 16


@dataclass(frozen=True)
class LivePhotoConfig:
    """All parts of one checkpoint and the facts needed to use them.

    Args:
        layout: The UNet the parts were made for.
        motion, input_conditioning, content, text_reweighting: The parts; `None` where absent.
        num_frames: Frames per clip in training.
        training_size_px: (width, height) in training.
        ssim_edges: The nine SSIM values that divide motion levels 1 to 10, from the highest SSIM
            (stillest) to the lowest; `None` where the file stores none.
        noise_schedule: Beta schedule the parts were trained with.
        cross_frame_group_norm: Whether the UNet's own GroupNorms take their statistics over all
            frames of a clip (AnimateDiff v1 and PIA) rather than per frame.
        text_adapters: Whether text tokens are adapted before the base's own keys and values; not
            part of the paper.
    """

    layout: UNetLayout = field(default_factory=UNetLayout)
    motion: MotionConfig | None = None
    input_conditioning: InputConditioningConfig | None = None
    content: ContentConfig | None = None
    text_reweighting: TextReweightingConfig | None = None
    num_frames: int = 16
    training_size_px: tuple[int, int] = (256, 256)
    ssim_edges: tuple[float, ...] | None = None
    noise_schedule: NoiseSchedule = "scaled_linear"
    cross_frame_group_norm: bool = False
    text_adapters: bool = False

    @property
    def input_channels(self) -> tuple[InputChannels, ...]:
        """The channels beside the noise latent at the UNet's input; none without that part."""
        return self.input_conditioning.channels if self.input_conditioning else ()
