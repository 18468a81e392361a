"""Decoding in parallel processes, in order and ahead by a bounded number of clips."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

import torch

from .clip_sampling import ClipConfig
from .examples import Example, Rejection, make_example
from .sources import VideoSource

Outcome = tuple[VideoSource, Example | Rejection]
_Future = Future[Example | Rejection]


class WorkerPool:
    """Makes examples in other processes; the caller computes meanwhile.

    A video that brings its process down (a fault in a decoder, or memory) is tried once more in a
    process of its own, and rejected if that dies too.

    Args:
        num_workers: Processes. At most twice as many clips are decoded ahead.
        config: What a clip is.
    Raises:
        RuntimeError: If the processes cannot even start.
    """

    def __init__(self, num_workers: int, config: ClipConfig) -> None:
        self._num_workers = num_workers
        self._config = config
        self._executor = _executor(num_workers)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    def map(self, sources: Iterable[VideoSource]) -> Iterator[Outcome]:
        """Each entry with its example or rejection, in the order of `sources`."""
        pending: deque[tuple[VideoSource, _Future]] = deque()
        for source in sources:
            pending.append((source, self._submit(source)))
            if len(pending) > 2 * self._num_workers:
                yield self._next(pending)
        while pending:
            yield self._next(pending)

    def _submit(self, source: VideoSource) -> _Future:
        try:
            return self._executor.submit(make_example, source, self._config)
        except BrokenProcessPool:
            self._executor.shutdown()
            self._executor = _executor(self._num_workers)
            return self._executor.submit(make_example, source, self._config)

    def _next(self, pending: deque[tuple[VideoSource, _Future]]) -> Outcome:
        source, future = pending.popleft()
        try:
            return source, future.result()
        except BrokenProcessPool:
            # One process died and took the others' work with it: which video it was is not known.
            # The first is tried by itself, while all others go on.
            for index, (other, its_future) in enumerate(pending):
                if its_future.done() and isinstance(its_future.exception(), BrokenProcessPool):
                    pending[index] = other, self._submit(other)
            return source, self._alone(source)

    def _alone(self, source: VideoSource) -> Example | Rejection:
        with _executor(1) as executor:
            try:
                return executor.submit(make_example, source, self._config).result()
            except BrokenProcessPool:
                return Rejection("the process that decoded it died")


def _executor(num_workers: int) -> ProcessPoolExecutor:
    # Not forked: the encoder's threads and its GPU context must not be copied half-way.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker)
    try:
        # Or every video would be blamed for an environment in which no process can start.
        executor.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "The processes that decode cannot start; their own message is above. A script that "
            'calls prepare() needs `if __name__ == "__main__":` around the call.'
        ) from error
    return executor


def _start_worker() -> None:
    # Ctrl-C reaches all processes of the terminal; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # After a kill -9 of the parent a worker would wait for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
