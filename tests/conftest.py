"""Options and fixtures for all tests."""

from __future__ import annotations

import os
from typing import Any

import pytest

BROWSER_TESTS = "tests/browser/"

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    # Before torch is imported, and for the servers that tests start too. Threads of several
    # processes that wait for the same core slow each other down tenfold.
    _processes = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _processes)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where in-process tests compute; tests marked gpu run only with cuda",
    )
    parser.addoption(
        "--front-end",
        metavar="VERSION",
        help="of comfyui-frontend-package, for the browser tests; by default each ComfyUI's own",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("device") == "cuda":
        return
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_tests:
        config.hook.pytest_deselected(items=gpu_tests)
        items[:] = [item for item in items if item not in gpu_tests]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives a file's tests to one process, and those of the browser: two would be in a rush."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFileAndOneBrowser(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return BROWSER_TESTS if file.startswith(BROWSER_TESTS) else file

    return ByFileAndOneBrowser(config, log)


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Device of `--device`."""
    return str(request.config.getoption("device"))
