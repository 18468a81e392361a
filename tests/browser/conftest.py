"""A browser with the front end of each supported ComfyUI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.environment import comfyui_versions, prepare, prepare_front_end
from harness.server import ComfyUIServer
from tests.browser.front_end import (
    FrontEnd,
    find_browser,
    open_front_end,
    provide_files,
    quiet_console,
)

SCREENSHOTS = Path(__file__).parents[2] / ".artefacts" / "browser"


@pytest.fixture(scope="session")
def browser() -> str:
    """Path of a Chromium or Chrome."""
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium or Chrome found; on Debian and Ubuntu: apt install chromium")
    return path


@dataclass(frozen=True)
class Opened:
    """A front end, what its server says about the nodes, and ComfyUI's version."""

    front_end: FrontEnd
    object_info: dict[str, Any]
    version: str


# Not for the session: as long as playwright runs, no other test can run an event loop.
@pytest.fixture(scope="module", params=comfyui_versions())
def opened(browser: str, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The front end of each supported ComfyUI in turn, or the one asked for, with the pack."""
    environment = prepare(request.param)
    front_end_root = prepare_front_end(environment, version=request.config.getoption("front_end"))
    arguments = ["--front-end-root", str(front_end_root)] if front_end_root else []
    server = ComfyUIServer(environment, device="cpu", arguments=arguments)
    provide_files(server)
    with server:
        object_info = server.client().object_info()
        with open_front_end(server, browser) as front_end:
            yield Opened(front_end, object_info, environment.version)


@pytest.fixture(autouse=True)
def _console_is_quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test on a front end leaves its console free of messages about the pack."""
    if "opened" not in request.fixturenames:
        yield
        return
    with quiet_console(request.getfixturevalue("opened").front_end):
        yield


@pytest.fixture
def screenshot(opened: Opened) -> Callable[[str], None]:
    """Keeps a picture of the page to be looked at: .artefacts/browser/<version>/<name>.png."""

    def take(name: str) -> None:
        page = opened.front_end.page
        # As under a moving mouse: nodes grow while they are drawn, and page elements follow them.
        for _ in range(3):
            page.evaluate("app.canvas.setDirty(true, true)")
            page.wait_for_timeout(200)
        page.screenshot(path=SCREENSHOTS / opened.version / f"{name}.png")

    return take
