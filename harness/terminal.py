"""Progress of a workflow on the terminal."""

from __future__ import annotations

from types import TracebackType

from tqdm import tqdm

from harness.client import Progress


class ProgressBar:
    """One bar per node that reports progress. Use it as a context manager, and call it."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._node_id: str | None = None

    def __call__(self, progress: Progress) -> None:
        """Show a progress message of `ComfyUIClient.run_workflow`."""
        if self._bar is None or progress.node_id != self._node_id:
            self.close()
            title = f"{progress.class_type or 'node'} {progress.node_id}"
            self._bar = tqdm(total=progress.maximum, desc=title, unit="step")
            self._node_id = progress.node_id
        self._bar.total = progress.maximum
        self._bar.update(progress.value - self._bar.n)

    def close(self) -> None:
        """Leave the terminal's cursor on a line of its own."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
