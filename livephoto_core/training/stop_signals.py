"""Stopping a training from outside without losing its last steps."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingStopped(KeyboardInterrupt):
    """A training was asked to stop, and has saved itself.

    Args:
        folder: Of the training.
        step: Optimiser steps done.
        number: Of the signal; 0 in a process that another one's signal stopped.
    """

    def __init__(self, folder: Path, step: int, number: int) -> None:
        super().__init__(
            f"Stopped and saved after step {step}. --resume {folder} goes on from there."
        )
        self.number = number


@dataclass
class StopRequest:
    """Whether a signal has come, and which: its number, 0 for none."""

    signal: int = 0


@contextlib.contextmanager
def watch_signals() -> Iterator[StopRequest]:
    """Takes note of SIGTERM and Ctrl-C, which then end nothing by themselves.

    They may come more than once: launchers pass on to their processes what the terminal has sent
    them already. In other threads than the main one nothing is watched; Python allows no more.
    """
    asked = StopRequest()

    def note(number: int, _: FrameType | None) -> None:
        if not asked.signal:
            logging.getLogger(__name__).info("Asked to stop: saving after this step.")
        asked.signal = number

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
