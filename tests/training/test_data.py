"""Batches: texts of different lengths, and loading ahead."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch.nn import functional as F

from livephoto_core.models.config import SD15
from livephoto_core.training.data import (
    ClipFacts,
    check_clips,
    check_validation,
    prefetch,
    stack_text,
)
from tests.training.tiny_training import RandomClips, facts


def test_texts_of_different_lengths_attend_as_alone():
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randn(77 * k, 8, generator=generator) for k in (1, 2, 3)]
    query = torch.randn(5, 8, generator=generator)
    stacked = stack_text(texts)
    assert stacked.shape == (3, 77 * 6, 8)
    for text, row in zip(texts, stacked, strict=True):
        alone = F.scaled_dot_product_attention(query, text, text)
        torch.testing.assert_close(F.scaled_dot_product_attention(query, row, row), alone)


class SlowClips(RandomClips):
    """Notes which batches are loaded; the first takes longest."""

    def __init__(self):
        super().__init__()
        self.loaded = []
        self.lock = threading.Lock()

    def load(self, numbers):
        time.sleep(0.2 if numbers[0] == 0 else 0)
        with self.lock:
            self.loaded.append(numbers[0])
        return super().load(numbers)


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_batches_come_in_order(num_threads):
    numbers = [range(i, i + 2) for i in range(0, 10, 2)]
    got = list(prefetch(RandomClips(), numbers, num_threads=num_threads))
    assert [batch_numbers for batch_numbers, _ in got] == numbers
    for batch_numbers, clips in got:
        assert clips.captions == tuple(f"clip {n % 4}" for n in batch_numbers)


def test_only_so_many_batches_are_loaded_ahead():
    source = SlowClips()
    batches = prefetch(source, ([i] for i in range(1000)), num_threads=2)
    next(batches)
    time.sleep(0.3)
    assert sorted(source.loaded) == [0, 1, 2]
    batches.close()


def test_error_while_loading_reaches_the_caller():
    class Broken(RandomClips):
        def load(self, numbers):
            raise ValueError(f"clip {numbers[0]} is broken")

    with pytest.raises(ValueError, match="clip 7 is broken"):
        next(prefetch(Broken(), [[7]], num_threads=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "encoded 32 wide, files.base reads 768"),
        ({"context_dim": 768, "latent_channels": 16}, "16 channels, files.base reads 4"),
        ({"context_dim": 768, "num_frames": 1}, "one frame"),
    ],
)
def test_clips_for_another_base_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"files.data: .*{message}"):
        check_clips(ClipFacts(**{**vars(facts()), **changes}), SD15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 8}, "num_frames .* is 8"),
        ({"size_px": (32, 64)}, r"size_px .* is \(32, 64\)"),
    ],
)
def test_validation_clips_of_another_kind_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"files.validation: {message}.*same options"):
        check_validation(ClipFacts(**{**vars(facts()), **changes}), facts())
