"""All parts of a checkpoint in one module."""

from __future__ import annotations

from typing import Any

from torch import nn

from .config import LivePhotoConfig
from .content_attention import ContentAttention
from .input_conditioning import InputConditioning
from .motion import MotionModules
from .text_adapters import TextAdapters
from .text_reweighting import TextReweighting


class LivePhoto(nn.Module):
    """The parts that a checkpoint adds to a frozen SD-1.5; absent parts are `None`.

    Args:
        config: Which parts, and their sizes.
        operations: Namespace of layer classes: `torch.nn`, or ComfyUI's so that its memory
            management can offload and cast the weights.
        factory: `dtype` and `device` of the weights.
    """

    def __init__(self, config: LivePhotoConfig, *, operations: Any = nn, **factory: Any) -> None:
        super().__init__()
        self.config = config
        build = {"operations": operations, **factory}
        layout = config.layout
        self.motion = config.motion and MotionModules(config.motion, layout, **build)
        self.input_conditioning = config.input_conditioning and InputConditioning(
            config.input_conditioning, layout, **build
        )
        self.content = config.content and ContentAttention(config.content, layout, **build)
        self.text_reweighting = config.text_reweighting and TextReweighting(
            config.text_reweighting, layout.context_dim, **build
        )
        self.text_adapters = TextAdapters(layout, **build) if config.text_adapters else None

    def initialise_weights(self) -> None:
        """Weights to start training from.

        The base model's output is unchanged at first, but for text re-weighting, whose weights
        start near one.
        """
        for part in (
            self.motion,
            self.input_conditioning,
            self.content,
            self.text_reweighting,
            self.text_adapters,
        ):
            if part is not None:
                part.initialise_weights()
