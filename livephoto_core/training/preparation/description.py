"""dataset.json: what a prepared data set holds, and the level edges of all its clips."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...atomic_files import write_atomically
from ...motion_intensity import DEFAULT_EDGES, NUM_LEVELS
from .level_histogram import SsimHistogram
from .progress import PartProgress

FORMAT_VERSION = 1
FACTS_FILE = "dataset.json"
EMPTY_TEXT_FILE = "empty_text.npy"

_log = logging.getLogger(__name__)


def write_description(output: Path, parts: Iterable[PartProgress], facts: dict[str, Any]) -> int:
    """Writes dataset.json from the records of all parts, in constant memory per clip.

    Fewer than ten clips have no deciles: they get the default edges.

    Args:
        output: The data set's folder.
        parts: All of them, complete.
        facts: Entries to write as they are.
    Returns:
        The number of clips.
    Raises:
        ValueError: If there is no clip at all, or a part has lost a shard; nothing is written.
    """
    histogram = SsimHistogram()
    shards = []
    for part in parts:
        for record in part.all_records():
            histogram.add(record.ssim)
            shards.append({"name": record.name, "num_clips": record.num_clips})
    num_clips = histogram.num_clips
    if not num_clips:
        raise ValueError(
            f"--source: not one video could be used; {output} lists the reasons in rejected.jsonl. "
            "Correct them, delete that folder, and prepare again."
        )
    description = {
        "format_version": FORMAT_VERSION,
        "num_clips": num_clips,
        "num_shards": len(shards),
        **facts,
        "ssim_edges": _edges(histogram),
        "shards": shards,
    }
    write_atomically(output / FACTS_FILE, json.dumps(description, indent=1).encode())
    return num_clips


def _edges(histogram: SsimHistogram) -> tuple[float, ...]:
    if histogram.num_clips >= NUM_LEVELS:
        return histogram.level_edges()
    _log.warning(
        "%d clips are too few for %d levels of motion: the default edges are stored.",
        histogram.num_clips,
        NUM_LEVELS,
    )
    return DEFAULT_EDGES
