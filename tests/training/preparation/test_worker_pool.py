import os
import subprocess
import sys
from pathlib import Path

import pytest

from livephoto_core.training.preparation.clip_sampling import ClipConfig
from livephoto_core.training.preparation.examples import Example, Rejection
from livephoto_core.training.preparation.sources import VideoSource
from livephoto_core.training.preparation.worker_pool import WorkerPool
from tests.training.preparation.videos import moving_texture, write_video


class _Deadly:
    """Ends the process that unpickles it, as a fault in a decoder would."""

    def __reduce__(self):
        return os._exit, (1,)


SCRIPT_WITHOUT_MAIN = """
from livephoto_core.training.preparation.clip_sampling import ClipConfig
from livephoto_core.training.preparation.worker_pool import WorkerPool
WorkerPool(1, ClipConfig())
"""


def test_processes_that_cannot_start_are_not_blamed_on_the_videos(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT_WITHOUT_MAIN)
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    assert "RuntimeError: The processes that decode cannot start" in run.stderr


@pytest.mark.slow
def test_outcomes_come_in_order_and_a_dying_process_costs_one_video(tmp_path):
    write_video(tmp_path / "good.mp4", moving_texture(20))
    captions = ["a", "b", _Deadly(), "d", "e", "f", "g", "h"]
    sources = [
        VideoSource(position, "good.mp4", tmp_path, caption)
        for position, caption in enumerate(captions)
    ]
    with WorkerPool(2, ClipConfig(size_px=(64, 64))) as pool:
        outcomes = list(pool.map(sources))
    assert [source.position for source, _ in outcomes] == list(range(8))
    for source, outcome in outcomes:
        if source.position == 2:
            assert outcome == Rejection("the process that decoded it died")
        else:
            assert isinstance(outcome, Example)
            assert outcome.caption == captions[source.position]


def test_sources_are_drawn_only_a_bounded_number_ahead(tmp_path):
    drawn = 0

    def endless():
        nonlocal drawn
        while True:
            drawn += 1
            yield VideoSource(drawn, "missing.mp4", tmp_path, "x")

    with WorkerPool(2, ClipConfig()) as pool:
        outcomes = pool.map(endless())
        for taken in range(1, 30):
            next(outcomes)
            assert drawn <= taken + 4
