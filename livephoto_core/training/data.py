"""What a training reads: an endless, numbered sequence of clips, and batches of it.

A source answers for clip *n* alone, whatever was read before. So the order does not depend on how
many processes read, a resumed run goes on exactly where it stopped, and a renderer that makes its
clips on the fly is as good a source as files on disk.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..models.config import UNetLayout


@dataclass(frozen=True, eq=False)
class Clips:
    """A batch of clips.

    Args:
        latents: VAE latents as the UNet sees them (× 0.18215 for SD-1.5), (b f c h w), float32. The
            first frame is the reference.
        text: Tokens of the captions, (b n d), float32.
        references: First frames for the content encoder, (b h w 3), 0 to 1; `None` without one.
        ssim: Mean SSIM of adjacent frames, one per clip.
        captions: One per clip.
    """

    latents: Tensor
    text: Tensor
    references: Tensor | None
    ssim: tuple[float, ...]
    captions: tuple[str, ...]

    def at(self, indices: Tensor) -> Clips:
        """Some of the clips, (n) integers."""
        places = indices.tolist()
        return Clips(
            self.latents[indices],
            self.text[indices],
            None if self.references is None else self.references[indices],
            tuple(self.ssim[place] for place in places),
            tuple(self.captions[place] for place in places),
        )

    def to(self, device: torch.device) -> Clips:
        """The same clips on another device."""
        references = None if self.references is None else self.references.to(device)
        return Clips(
            self.latents.to(device), self.text.to(device), references, self.ssim, self.captions
        )


@dataclass(frozen=True, eq=False)
class ClipFacts:
    """What is the same for all clips of a source.

    Args:
        num_frames: Frames per clip.
        size_px: (width, height).
        latent_channels: Channels of a latent.
        context_dim: Width of a text token.
        ssim_edges: The nine edges between the motion levels.
        empty_text: Tokens of the empty prompt, (77 d), float32.
    """

    num_frames: int
    size_px: tuple[int, int]
    latent_channels: int
    context_dim: int
    ssim_edges: tuple[float, ...]
    empty_text: Tensor


class ClipSource(Protocol):
    """An endless sequence of clips, each a pure function of its number.

    `load` is called from several threads.
    """

    @property
    def facts(self) -> ClipFacts:
        """What all clips have in common."""
        ...

    def load(self, numbers: Sequence[int]) -> Clips:
        """The clips of these numbers, from 0, in this order."""
        ...


def check_clips(facts: ClipFacts, layout: UNetLayout) -> None:
    """Raises ValueError if the clips were not encoded for a base model of this layout."""
    if facts.context_dim != layout.context_dim:
        raise ValueError(
            f"files.data: its captions are encoded {facts.context_dim} wide, files.base reads "
            f"{layout.context_dim}. Prepare the clips with the checkpoint that is trained on."
        )
    if facts.latent_channels != layout.latent_channels:
        raise ValueError(
            f"files.data: its latents have {facts.latent_channels} channels, files.base reads "
            f"{layout.latent_channels}. Prepare the clips with the checkpoint that is trained on."
        )
    if facts.num_frames < 2:
        raise ValueError("files.data: its clips have one frame. Prepare clips of 2 or more.")


def check_validation(facts: ClipFacts, trained_on: ClipFacts) -> None:
    """Raises ValueError if the clips of `files.validation` are not like those that are trained on.

    Their levels may differ: those of the training count.
    """
    for name in ("num_frames", "size_px", "latent_channels", "context_dim"):
        found, wanted = getattr(facts, name), getattr(trained_on, name)
        if found != wanted:
            raise ValueError(
                f"files.validation: {name} of its clips is {found}, of those in files.data "
                f"{wanted}. Prepare both with the same options."
            )


def stack_text(texts: Sequence[Tensor]) -> Tensor:
    """Tokens of several captions as one batch, (n d) each → (b n d).

    Shorter ones are repeated to a common length: attention over tokens that are all repeated alike
    gives the same result as over the tokens themselves, which padding would not.
    """
    length = math.lcm(*(len(text) for text in texts))
    return torch.stack([text.repeat(length // len(text), 1) for text in texts])


Numbers = Sequence[int]
"""Which clips make a batch."""


def prefetch(
    source: ClipSource, batches: Iterable[Numbers], *, num_threads: int
) -> Generator[tuple[Numbers, Clips], None, None]:
    """Batches in order with their numbers, the next `num_threads` of them being loaded meanwhile.

    Args:
        source: Where from.
        batches: The numbers of each batch.
        num_threads: 0 loads each batch when it is asked for.
    """
    if num_threads == 0:
        yield from ((numbers, source.load(numbers)) for numbers in batches)
        return
    waiting: deque[tuple[Numbers, Future[Clips]]] = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="clips") as pool:
        try:
            for numbers in batches:
                waiting.append((numbers, pool.submit(source.load, numbers)))
                if len(waiting) > num_threads:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()


def _finished(numbers: Numbers, future: Future[Clips]) -> tuple[Numbers, Clips]:
    return numbers, future.result()
