"""Examples in, encoded and sharded; rejections in, listed."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor

from .encoder import ClipEncoder
from .examples import Example, Rejection
from .progress import PartProgress, RejectedList, ShardRecord
from .shard_writer import Sample, ShardWriter
from .sources import VideoSource

MAX_TEXT_TOKENS = 3 * 77
"""Captions of different lengths are repeated to a common one in training, up to six times 77."""


class PartWriter:
    """Writes shards of one machine's part, from one of them on.

    Batches never reach over the end of a shard: a shard then depends on nothing but the videos from
    where the last one ended, and is the same bytes whether or not the run was ever interrupted.

    Args:
        progress: The part.
        encoder: Of frames and captions.
        rejected: Gets what is left out; closed at the end.
        num_shards: Shards that come before.
        clips_per_shard: Clips in every shard but the last.
        clips_per_batch: Clips encoded at once.
    Attributes:
        last_record: Of the last shard that was written.
    """

    def __init__(
        self,
        progress: PartProgress,
        encoder: ClipEncoder,
        rejected: RejectedList,
        *,
        num_shards: int,
        clips_per_shard: int,
        clips_per_batch: int,
    ) -> None:
        self.num_shards = num_shards
        self.last_record: ShardRecord | None = None
        self._progress = progress
        self._encoder = encoder
        self._rejected = rejected
        self._clips_per_shard = clips_per_shard
        self._clips_per_batch = clips_per_batch
        self._pending: list[tuple[VideoSource, Example]] = []
        self._shard: ShardWriter | None = None
        self._last_source: VideoSource | None = None

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._rejected.close()
        if self._shard is not None:
            self._shard.discard()

    def take(self, source: VideoSource, outcome: Example | Rejection) -> None:
        """Stores or lists the next entry of the source."""
        self._last_source = source
        if isinstance(outcome, Rejection):
            self._rejected.add(source=source.name, reason=outcome.reason)
            return
        self._pending.append((source, outcome))
        room = self._clips_per_shard - (self._shard.num_clips if self._shard else 0)
        if len(self._pending) == min(room, self._clips_per_batch):
            self._encode_pending()
        if self._shard is not None and self._shard.num_clips == self._clips_per_shard:
            self._close(self._shard)

    def finish(self) -> None:
        """Writes what is left, after the last entry."""
        self._encode_pending()
        if self._shard is not None:
            self._close(self._shard)
        self._rejected.sync()

    def _encode_pending(self) -> None:
        if not self._pending:
            return
        frames = torch.cat([torch.from_numpy(example.clip.frames) for _, example in self._pending])
        latents = self._encoder.encode_images(frames.float() / 255)
        for (source, example), clip in zip(
            self._pending, latents.chunk(len(self._pending)), strict=True
        ):
            self._store(source, example, clip)
        self._pending.clear()

    def _store(self, source: VideoSource, example: Example, latents: Tensor) -> None:
        sample = Sample(source, example, latents, self._encoder.encode_text(example.caption))
        if not (latents.half().isfinite().all() and sample.text.half().isfinite().all()):
            self._rejected.add(source=source.name, reason="the encoders gave NaN or infinity")
            return
        if len(sample.text) > MAX_TEXT_TOKENS:
            reason = f"the caption takes {len(sample.text)} tokens, at most {MAX_TEXT_TOKENS} fit"
            self._rejected.add(source=source.name, reason=reason)
            return
        if self._shard is None:
            self._shard = ShardWriter(self._progress.shard_path(self.num_shards))
        self._shard.add(sample)

    def _close(self, shard: ShardWriter) -> None:
        assert self._last_source is not None, "a shard has clips, so there was a source"
        record = ShardRecord(
            name=shard.path.name,
            num_clips=shard.num_clips,
            num_bytes=shard.finish(),
            position=self._last_source.position,
            source=self._last_source.name,
            rejected_bytes=self._rejected.sync(),
            ssim=shard.ssim,
        )
        self._progress.save(record)
        shard.publish()
        self.last_record = record
        self.num_shards += 1
        self._shard = None
