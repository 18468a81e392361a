"""A browser with the front end of each supported ComfyUI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from harness.environment import comfyui_versions, prepare, prepare_front_end
from harness.server import ComfyUIServer
from tests.browser.front_end import FrontEnd, find_browser, open_front_end, provide_files


@pytest.fixture(scope="session")
def browser() -> str:
    """Path of a Chromium or Chrome."""
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium or Chrome found; on Debian and Ubuntu: apt install chromium")
    return path


@dataclass(frozen=True)
class Opened:
    """A front end, and what its server says about the nodes."""

    front_end: FrontEnd
    object_info: dict[str, Any]


# Not for the session: as long as playwright runs, no other test can run an event loop.
@pytest.fixture(scope="module", params=comfyui_versions())
def opened(browser: str, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The front end of each supported ComfyUI in turn, with the pack."""
    environment = prepare(request.param)
    front_end_root = prepare_front_end(environment)
    arguments = ["--front-end-root", str(front_end_root)] if front_end_root else []
    server = ComfyUIServer(environment, device="cpu", arguments=arguments)
    provide_files(server)
    with server:
        object_info = server.client().object_info()
        with open_front_end(server, browser) as front_end:
            yield Opened(front_end, object_info)
