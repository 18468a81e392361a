"""The level edges of any number of clips, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...motion_intensity import NUM_LEVELS

NUM_BINS = 2**20

RESOLUTION = 2 / NUM_BINS
"""Width of a bin on the scale of SSIM, 1.9e-6: how far an edge can lie below the exact one."""


class SsimHistogram:
    """Counts of SSIM values from −1 to 1 in bins of equal width; 8 MB, however many clips."""

    def __init__(self) -> None:
        self._counts = np.zeros(NUM_BINS, dtype=np.int64)

    @property
    def num_clips(self) -> int:
        """Values added so far."""
        return int(self._counts.sum())

    def add(self, ssim_values: Sequence[float]) -> None:
        """Counts more clips.

        Raises:
            ValueError: If a value is NaN or outside −1 to 1.
        """
        values = np.asarray(ssim_values, dtype=np.float64)
        if not (np.abs(values) <= 1 + 1e-6).all():
            raise ValueError("ssim_values must be numbers from -1 to 1, got NaN or values beyond.")
        bins = np.floor((values + 1) / RESOLUTION).astype(np.int64).clip(0, NUM_BINS - 1)
        np.add.at(self._counts, bins, 1)

    def level_edges(self) -> tuple[float, ...]:
        """The nine deciles as `motion_intensity.level_edges` gives them for the list of all values.

        Each lies at most `RESOLUTION` below the exact one and never above: clips whose SSIM equals
        an edge, such as still ones, must count as the stiller ones here too.

        Raises:
            ValueError: If there are fewer than ten clips.
        """
        if self.num_clips < NUM_LEVELS:
            raise ValueError(f"{NUM_LEVELS} levels need {NUM_LEVELS} clips, got {self.num_clips}.")
        quantiles = np.arange(NUM_LEVELS - 1, 0, -1) / NUM_LEVELS
        ranks = quantiles * (self.num_clips - 1)
        below, above = np.floor(ranks), np.ceil(ranks)
        low, high = self._value_of_rank(below), self._value_of_rank(above)
        return tuple((low + (ranks - below) * (high - low)).tolist())

    def _value_of_rank(self, ranks: np.ndarray) -> np.ndarray:
        bins = np.searchsorted(np.cumsum(self._counts), ranks, side="right")
        return bins * RESOLUTION - 1
