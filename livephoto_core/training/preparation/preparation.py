"""From videos and captions to a data set that the training loop reads."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tqdm import tqdm

from ...atomic_files import write_atomically
from ...begun_folder import check_settings
from .clip_sampling import ClipConfig
from .description import EMPTY_TEXT_FILE, write_description
from .encoder import ClipEncoder
from .examples import Example, Rejection
from .part_writer import PartWriter
from .progress import PartProgress, RejectedList, ShardRecord
from .shard_writer import half_precision_npy
from .sources import SourceConfig, VideoSource, iterate_sources
from .worker_pool import Outcome, WorkerPool

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparationConfig:
    """What to prepare, and where to.

    Args:
        sources: Which videos.
        output: Folder of the data set. A run that was stopped continues there.
        clips: What a clip is.
        clips_per_shard: Clips per tar file; also how much work a kill can cost.
        clips_per_batch: Clips that the VAE encodes at once.
        num_workers: Processes that decode.
        max_unreachable: Entries in a row whose files may be missing or unreadable; more end the
            run. 0 for any number; by default a tenth of the part, from 20 to 1000.
    """

    sources: SourceConfig
    output: Path
    clips: ClipConfig = field(default_factory=ClipConfig)
    clips_per_shard: int = 1000
    clips_per_batch: int = 1
    num_workers: int = 2
    max_unreachable: int | None = None

    def __post_init__(self) -> None:
        counts = {
            "--clips-per-shard": self.clips_per_shard,
            "--clips-per-batch": self.clips_per_batch,
            "--workers": self.num_workers,
        }
        for option, value in counts.items():
            if value < 1:
                raise ValueError(f"{option} must be at least 1, got {value}.")
        if self.max_unreachable is not None and self.max_unreachable < 0:
            raise ValueError(f"--max-unreachable must be 0 or more, got {self.max_unreachable}.")
        if self.output.exists() and not self.output.is_dir():
            raise ValueError(f"--output: {self.output} is a file; give a folder.")


@dataclass(frozen=True)
class PreparationResult:
    """What a run has come to.

    Args:
        num_videos: Videos of this part that were looked at.
        num_rejected: Of these, how many were left out.
        num_clips: Clips of the whole data set; `None` while other parts are not complete.
    """

    num_videos: int
    num_rejected: int
    num_clips: int | None


def prepare(config: PreparationConfig, encoder: ClipEncoder) -> PreparationResult:
    """Writes the data set, or what is still missing of it.

    Whoever completes the last part also writes dataset.json. Killed at any moment and started
    again, it ends with the same bytes as a run in one go. Shards that a complete part has lost
    since, or that were cut short, are made anew, and nothing else.

    Raises:
        ValueError: Naming the option that is wrong, before the first video is read; or if no video
            could be used, the source is not the one the data set was begun with, or its files are
            out of reach.
    """
    facts = _facts(config, encoder)
    check_settings(config.output, _settings(config, facts))
    index, count = config.sources.part
    parts = [PartProgress(config.output, (number, count)) for number in range(1, count + 1)]
    part = parts[index - 1]
    with part.lock():
        if part.summary is None:
            empty_text = half_precision_npy(encoder.encode_text(""))
            write_atomically(config.output / EMPTY_TEXT_FILE, empty_text)
            _prepare_part(config, encoder, part)
        else:
            _mend_part(config, encoder, part)
    summary = part.summary
    assert summary is not None, "the part has just been completed"
    num_clips = None
    if all(other.summary is not None for other in parts):
        num_clips = write_description(config.output, parts, facts)
    return PreparationResult(summary["num_videos"], summary["num_rejected"], num_clips)


def _facts(config: PreparationConfig, encoder: ClipEncoder) -> dict[str, Any]:
    width, height = config.clips.size_px
    latents = encoder.encode_images(torch.zeros(1, height, width, 3))
    if latents.shape[2:] != (height // 8, width // 8):
        raise ValueError(
            f"--checkpoint: {encoder.name} has a VAE that makes {tuple(latents.shape[2:])} latents "
            f"of {width}x{height} px pictures; SD-1.5's are an eighth as large."
        )
    return {
        "num_frames": config.clips.num_frames,
        "size_px": list(config.clips.size_px),
        "latent_channels": latents.shape[1],
        "context_dim": encoder.encode_text("").shape[1],
        "base_checkpoint": {"name": encoder.name, "sha256": encoder.sha256},
    }


def _settings(config: PreparationConfig, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "--checkpoint": facts["base_checkpoint"]["sha256"],
        "--source": config.sources.source.name,
        "--video-path": config.sources.video_path,
        "--caption-column": config.sources.caption_column,
        "--shard-of (the number of parts)": config.sources.part[1],
        "--size": config.clips.size_px,
        "--frames": config.clips.num_frames,
        "--min-stride": config.clips.strides[0],
        "--max-stride": config.clips.strides[1],
        "--seed": config.clips.seed,
        "--clips-per-shard": config.clips_per_shard,
        "--clips-per-batch": config.clips_per_batch,
    }


def _prepare_part(config: PreparationConfig, encoder: ClipEncoder, part: PartProgress) -> None:
    num_videos = sum(1 for _ in iterate_sources(config.sources))
    [(num_shards, last)] = deque(enumerate(part.records(), start=1), maxlen=1) or [(0, None)]
    rejected = RejectedList(part.rejected_path, keep_bytes=last.rejected_bytes if last else 0)
    with ExitStack() as stack:
        writer = stack.enter_context(_writer(config, encoder, part, rejected, num_shards))
        bar = stack.enter_context(tqdm(total=num_videos, unit="video", desc="Preparing"))
        pool = stack.enter_context(WorkerPool(config.num_workers, config.clips))
        sources = iterate_sources(config.sources)
        bar.update(_skip(sources, last))
        watch = _OutageWatch(_max_unreachable(config, num_videos))
        for source, outcome in pool.map(sources):
            watch.look_at(source, outcome)
            writer.take(source, outcome)
            bar.set_postfix(left_out=rejected.count, refresh=False)
            bar.update()
        writer.finish()
    counts = {"num_videos": num_videos, "num_rejected": rejected.count}
    part.complete(**counts, num_shards=writer.num_shards)


def _max_unreachable(config: PreparationConfig, num_videos: int) -> int:
    if config.max_unreachable is not None:
        return config.max_unreachable
    return min(max(num_videos // 10, 20), 1000)


class _OutageWatch:
    """Ends a run whose videos are out of reach, before it leaves all of them out for good."""

    def __init__(self, limit: int) -> None:
        self._limit, self._in_a_row = limit, 0

    def look_at(self, source: VideoSource, outcome: Example | Rejection) -> None:
        """Raises ValueError after more unreachable entries in a row than are allowed."""
        if not (isinstance(outcome, Rejection) and outcome.is_unreachable):
            self._in_a_row = 0
            return
        self._in_a_row += 1
        if self._limit and self._in_a_row > self._limit:
            raise ValueError(
                f"--source: more than {self._limit} of its entries in a row cannot be read, the "
                f"last one {source.name}: {outcome.reason}. Is --videos the right folder, and the "
                "storage there? The same command goes on from the last whole shard. If so many are "
                "meant to be missing, give --max-unreachable 0."
            )


def _mend_part(config: PreparationConfig, encoder: ClipEncoder, part: PartProgress) -> None:
    """Makes the shards anew that a complete part has lost; each needs the end of the one before."""
    lost: list[tuple[int, ShardRecord | None, ShardRecord]] = []
    before = None
    for number, record in enumerate(part.published()):
        if not part.is_intact(record):
            lost.append((number, before, record))
        before = record
    if not lost:
        return
    _log.warning("%d shards are missing or cut short: they are made anew.", len(lost))
    with WorkerPool(config.num_workers, config.clips) as pool:
        for number, before, record in tqdm(lost, unit="shard", desc="Mending"):
            sources = iterate_sources(config.sources)
            _skip(sources, before)
            last = record.position
            wanted = takewhile(lambda source, last=last: source.position <= last, sources)
            made = _make_anew(config, encoder, part, number, pool.map(wanted))
            part.save(record)
            if made is None or not made.has_clips_of(record):
                part.shard_path(number).unlink(missing_ok=True)
                raise ValueError(
                    f"--source: its videos no longer give the clips of {record.name}. Put them "
                    "back as they were, or give another --output."
                )


def _make_anew(
    config: PreparationConfig,
    encoder: ClipEncoder,
    part: PartProgress,
    number: int,
    outcomes: Iterator[Outcome],
) -> ShardRecord | None:
    with TemporaryDirectory() as folder:
        # What is left out is listed already.
        rejected = RejectedList(Path(folder) / "rejected", keep_bytes=0)
        with _writer(config, encoder, part, rejected, number) as writer:
            for source, outcome in outcomes:
                writer.take(source, outcome)
                if writer.num_shards > number:
                    break  # what would come now is the next shard's, which is not lost
            else:
                writer.finish()
    return writer.last_record


def _writer(
    config: PreparationConfig,
    encoder: ClipEncoder,
    part: PartProgress,
    rejected: RejectedList,
    num_shards: int,
) -> PartWriter:
    return PartWriter(
        part,
        encoder,
        rejected,
        num_shards=num_shards,
        clips_per_shard=config.clips_per_shard,
        clips_per_batch=config.clips_per_batch,
    )


def _skip(sources: Iterator[VideoSource], record: ShardRecord | None) -> int:
    """Moves on to the first entry after the record's shard; returns how many came before it."""
    if record is None:
        return 0
    for count, source in enumerate(sources, start=1):
        if source.position < record.position:
            continue
        if (source.position, source.name) == (record.position, record.source):
            return count
        break
    raise ValueError(
        f"--source: {record.source} is no longer entry {record.position + 1} of it, as it was when "
        f"{record.name} was written. Put the source back as it was, or give another --output."
    )
