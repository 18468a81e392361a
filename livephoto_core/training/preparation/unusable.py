"""The errors of a video that is left out."""

from __future__ import annotations


class UnusableVideoError(Exception):
    """A video, or its caption, is left out of the data set; the message is the reason."""


class UnreachableVideoError(UnusableVideoError):
    """Its file, or its caption's, is missing or cannot be read: perhaps the storage is away."""
