"""State of one sampling run and of one call of the UNet within it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from einops import rearrange
from torch import Tensor, nn

from ..models.unet_blocks import BlockLocation, attention_locations
from .compatibility import check_frame_count
from .unet_twins import cross_frame_norm_paths

if TYPE_CHECKING:
    from ..models.content_attention import KeysValues
    from ..models.livephoto import LivePhoto


@dataclass
class Run:
    """One sampling run: made when sampling starts, dropped when it ends.

    Args:
        parts: The checkpoint's modules.
        patch_tokens: Content tokens of the reference, (1 n d), or `None`.
        num_frames: Of the whole clip.
        channels: Added input channels of the whole clip, (f n h w), for calls that bring none.
    """

    parts: LivePhoto
    patch_tokens: Tensor | None
    num_frames: int
    channels: Tensor | None = None
    _keys_values: KeysValues | None = None
    _checked: set[int] = field(default_factory=set)

    def keys_values(self, like: Tensor) -> KeysValues:
        """Keys and values of the content tokens, computed at the first use in a run."""
        if self._keys_values is None:
            content, tokens = _present(self.parts.content), _present(self.patch_tokens)
            self._keys_values = content.keys_values(tokens.to(like))
        return self._keys_values

    def begin_call(self, x: Tensor, *, frames: list[int] | None, channels: Tensor | None) -> Call:
        """Checks the frame count of a UNet call and opens its state.

        Args:
            x: Input of the UNet, (b c h w): the frames of each conditioning, and of each tile where
                another node samples by tiles.
            frames: Which ones of the clip they are, where the call holds a window of it.
            channels: Added input channels (b n h w), or `None` where the checkpoint has none, or
                where another node has made the conditioning while sampling.
        Raises:
            ValueError: For one frame, or more frames than the motion modules can take at once.
            RuntimeError: If another node has taken the frames apart, samples a part of the picture
                with a conditioning of its own, or another size of it.
        """
        batch_size = x.shape[0]
        num_frames = self.num_frames if frames is None else len(frames)
        check_frame_count(self.parts.config, num_frames, in_window=True)
        if batch_size % num_frames:
            raise RuntimeError(
                f"LivePhoto's video has {num_frames} frames, but another node hands the model "
                f"{batch_size} at once. Remove the nodes that split batches; longer videos are "
                "made with Context Windows (Manual)."
            )
        if channels is None and self.channels is not None:
            channels = self._channels_of(x, frames)
        if channels is not None and channels.shape[2:] != x.shape[2:]:
            raise RuntimeError(
                "LivePhoto's photo cannot be added: another node samples a part of the picture "
                "with a conditioning of its own, or enlarges it while sampling. Remove that node."
            )
        return Call(run=self, num_frames=num_frames, channels=channels)

    def _channels_of(self, x: Tensor, frames: list[int] | None) -> Tensor:
        channels = _present(self.channels)
        channels = channels if frames is None else channels[frames]
        return channels.repeat(len(x) // len(channels), 1, 1, 1)

    def check_calls(self) -> None:
        """After a run: the UNet must have been called as ComfyUI calls it.

        Raises:
            RuntimeError: If another node has run the UNet's blocks by itself, without the parts.
        """
        if not self._checked:
            raise RuntimeError(
                "LivePhoto's parts did not run: another node runs the model's blocks by itself, as "
                "DeepCache does. Remove that node; EasyCache works."
            )

    def check_hooks(self, call: Call, unet: nn.Module) -> None:
        """After the first call of a UNet: every hook must have run as often as the parts say.

        A sampling may use two (Dual Model CFG Guider), of which LivePhoto is applied to one.

        Raises:
            RuntimeError: Naming the hooks that did not run. A silent miss would look like a bad
                checkpoint.
        """
        if id(unet) in self._checked:
            return
        expected = self._expected_hooks()
        missed = {
            name: (call.hooks[name], count)
            for name, count in expected.items()
            if call.hooks[name] != count
        }
        if missed:
            counts = "; ".join(f"{name} {ran} of {due}" for name, (ran, due) in missed.items())
            raise RuntimeError(
                f"LivePhoto's parts did not all run ({counts}): another node replaces the same "
                "layers of the UNet. Remove the nodes that patch the model (samplers' wrappers, "
                "attention or block replacements, other motion packs) one by one, and give a "
                "second model its own Apply LivePhoto."
            )
        self._checked.add(id(unet))

    def _expected_hooks(self) -> dict[str, int]:
        """How often each kind of hook runs in one call of the UNet."""
        parts, config = self.parts, self.parts.config
        num_attentions = len(attention_locations(config.layout))
        counts: dict[str, int] = {}
        if parts.motion is not None:
            counts["motion modules"] = len(parts.motion.by_location)
        if parts.input_conditioning is not None:
            counts["input channels"] = 1
        if parts.content is not None and self.patch_tokens is not None:
            counts["content attention"] = num_attentions
        if parts.text_adapters is not None:
            counts["text adapters"] = num_attentions
        if config.cross_frame_group_norm:
            counts["cross-frame GroupNorm"] = len(cross_frame_norm_paths(config.layout))
        return counts


@dataclass
class Call:
    """One call of the UNet: how many frames a chunk has, and what the parts add."""

    run: Run
    num_frames: int
    channels: Tensor | None
    hooks: Counter[str] = field(default_factory=Counter)

    def add_motion(self, location: BlockLocation, x: Tensor) -> Tensor:
        """The motion module of one block, (b·f c h w) → (b·f c h w)."""
        self.hooks["motion modules"] += 1
        return _present(self.run.parts.motion).by_location[location](x, self.num_frames)

    def add_input_channels(self, x: Tensor) -> Tensor:
        """Adds the convolution over the added channels to the output of `conv_in`."""
        self.hooks["input channels"] += 1
        channels = _present(self.channels).to(x)
        return x + _present(self.run.parts.input_conditioning)(channels)

    def add_content(self, location: BlockLocation, hidden: Tensor, x: Tensor) -> Tensor:
        """Adds content cross-attention, queried by `hidden`, to the text cross-attention `x`."""
        self.hooks["content attention"] += 1
        content = _present(self.run.parts.content)
        return x + content(location, hidden, self.run.keys_values(hidden))

    def adapt_text(
        self, location: BlockLocation, context: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The tokens that the base's own text cross-attention makes keys and values of."""
        self.hooks["text adapters"] += 1
        return _present(self.run.parts.text_adapters).at(location)(context, value)

    def normalise_across_frames(self, norm: nn.Module, x: Tensor) -> Tensor:
        """A GroupNorm with its statistics over all frames of each clip, (b·f c h w)."""
        self.hooks["cross-frame GroupNorm"] += 1
        height = x.shape[2]
        clip = rearrange(x, "(b f) c h w -> b c (f h) w", f=self.num_frames)
        return rearrange(norm(clip), "b c (f h) w -> (b f) c h w", h=height)


_Part = TypeVar("_Part")


def _present(part: _Part | None) -> _Part:
    """A part that the checkpoint has: hooks of absent parts are not registered."""
    assert part is not None, "a hook ran for a part that the checkpoint does not have"
    return part
