"""Options and fixtures for all tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where in-process tests compute; tests marked gpu run only with cuda",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("device") == "cuda":
        return
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_tests:
        config.hook.pytest_deselected(items=gpu_tests)
        items[:] = [item for item in items if item not in gpu_tests]


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """Device of `--device`."""
    return str(request.config.getoption("device"))
