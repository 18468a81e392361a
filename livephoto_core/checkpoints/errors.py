"""The one error that weight files raise."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A weight file cannot be used; the message is one sentence for the artist who chose it."""
