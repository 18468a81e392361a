"""Stand-ins for UNet layers that add LivePhoto's parts while a LivePhoto model call is running.

A twin is an instance of a subclass of the layer's own class that shares the layer's `__dict__`
entries: the same parameters, the same submodules under the same names. It is put in the layer's
place with ModelPatcher's object patches, so ComfyUI swaps it in and out with the model clone it
belongs to, LoRA keys and offloading keep working, and nothing stays behind.

A twin knows only where it stands. Everything else comes from the call that is running
(`current_call`); without one it is exactly the layer it stands for. So even a twin that is still in
place while the bare model runs changes no bit of its output.

This is done with object patches, not with `forward_timestep_embed_patch`, because ComfyUI before
0.19 consults that patch for no ResBlock and no SpatialTransformer, and because its handlers are
first-match-wins: another pack's handler would silently switch ours off.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..models.config import UNetLayout
from ..models.unet_blocks import MIDDLE, BlockLocation, attention_locations, resblock_locations

if TYPE_CHECKING:
    from .run import Call

current_call: ContextVar[Call | None] = ContextVar("livephoto_current_call", default=None)


class WithMotion:
    """Runs the layer, then the motion module of its block."""

    livephoto_location: BlockLocation

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's own forward, and what the running call adds to it."""
        out = super().forward(*args, **kwargs)  # type: ignore[misc]
        call = current_call.get()
        return out if call is None else call.add_motion(self.livephoto_location, out)


class WithCrossFrameNorm:
    """A Sequential whose leading GroupNorm takes its statistics over all frames of a clip."""

    def forward(self, x: Tensor) -> Tensor:
        """(b·f c h w) → as the Sequential does."""
        call = current_call.get()
        if call is None:
            return super().forward(x)  # type: ignore[misc]
        norm, *rest = self  # type: ignore[misc]
        x = call.normalise_across_frames(norm, x)
        for layer in rest:
            x = layer(x)
        return x


@cache
def _twin_class(behaviour: type, layer_class: type) -> type:
    return type(behaviour.__name__ + layer_class.__name__, (behaviour, layer_class), {})


def twin(behaviour: type, layer: nn.Module, **attributes: Any) -> nn.Module:
    """A stand-in for `layer` with `behaviour` added."""
    stand_in = object.__new__(_twin_class(behaviour, type(layer)))
    stand_in.__dict__.update(layer.__dict__)
    stand_in.__dict__.update(attributes)
    return stand_in


def motion_layer_paths(
    layout: UNetLayout, locations: list[BlockLocation]
) -> dict[BlockLocation, str]:
    """Path in the diffusion model of the layer that each motion module follows.

    That is the block's SpatialTransformer (index 1), or its ResBlock (index 0) on levels without
    attention.
    """
    with_attention = {location for location, _ in attention_locations(layout)}
    return {
        location: f"{_block_path(location)}.{1 if location in with_attention else 0}"
        for location in locations
    }


def cross_frame_norm_paths(layout: UNetLayout) -> list[str]:
    """Paths of every Sequential of a ResBlock that starts with a GroupNorm, and of the output.

    The GroupNorms inside SpatialTransformers see single frames in AnimateDiff v1 and PIA too: both
    fold frames into the batch before them.
    """
    resblocks = [f"{_block_path(location)}.0" for location in resblock_locations(layout)]
    resblocks += [f"{_block_path(MIDDLE)}.0", f"{_block_path(MIDDLE)}.2"]
    sequentials = [f"{path}.{part}" for path in resblocks for part in ("in_layers", "out_layers")]
    return [*sequentials, "out"]


def _block_path(location: BlockLocation) -> str:
    kind, index = location
    return "middle_block" if kind == "middle" else f"{kind}_blocks.{index}"
