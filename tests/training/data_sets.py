"""Prepared data sets on disk, written by webdataset's own writer."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import webdataset
from PIL import Image

from tests.training.tiny_training import CONTEXT_DIM, EDGES, FRAMES, SIZE


def write_data_set(folder: Path, shard_sizes: tuple[int, ...], *, chunks=(1,)) -> Path:
    """A data set whose clip k has latents full of k, the caption "clip k", SSIM k / (number of
    clips), and a text of `chunks[k % len(chunks)]` times 77 tokens."""
    folder.mkdir(parents=True)
    key, total = 0, sum(shard_sizes)
    for index, size in enumerate(shard_sizes):
        with webdataset.TarWriter(str(folder / f"clips-{index:06d}.tar")) as writer:
            for _ in range(size):
                writer.write(sample(key, total, chunks[key % len(chunks)]))
                key += 1
    np.save(folder / "empty_text.npy", np.full((77, CONTEXT_DIM), 0.5, np.float16))
    description = {
        "format_version": 1,
        "num_clips": total,
        "num_shards": len(shard_sizes),
        "num_frames": FRAMES,
        "size_px": [SIZE * 8, SIZE * 8],
        "latent_channels": 4,
        "context_dim": CONTEXT_DIM,
        "ssim_edges": EDGES,
        "shards": [
            {"name": f"clips-{index:06d}.tar", "num_clips": size}
            for index, size in enumerate(shard_sizes)
        ],
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def sample(number: int, total: int, num_chunks: int) -> dict:
    """One clip in the form that webdataset's writer takes; random latents in a narrow range."""
    picture = io.BytesIO()
    Image.new("RGB", (SIZE * 8, SIZE * 8), (number % 256, 0, 255)).save(picture, "PNG")
    return {
        "__key__": f"{number:09d}",
        "latents.npy": np.full((FRAMES, 4, SIZE, SIZE), number, np.float16),
        "text.npy": np.full((77 * num_chunks, CONTEXT_DIM), number, np.float16),
        "reference.png": picture.getvalue(),
        "txt": f"clip {number}",
        "json": {"ssim": number / total, "stride": 1, "source": "a.mp4", "start_frame": 0},
    }
