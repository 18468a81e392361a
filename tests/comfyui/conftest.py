"""Fixtures that run a real ComfyUI: as a server in a process of its own, or in this process.

Test files here may import `comfy` and `livephoto_core.comfyui` at their top: ComfyUI's tree is put
on the path before they are read.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.environment import comfyui_versions, prepare
from harness.server import ComfyUIServer
from tests.comfyui.sd15_checkpoint import sd15_checkpoint as write_sd15_checkpoint

FOLDER = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    # Ahead of the repository's root, or its `nodes` would be taken for ComfyUI's nodes.py.
    sys.path.insert(0, str(prepare().comfyui))
    from comfy.cli_args import args

    args.cpu = config.getoption("device") == "cpu"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker("comfyui")


@pytest.fixture
def comfy_in_process() -> Iterator[ModuleType]:
    """The newest ComfyUI's `comfy` package in this process; all models are unloaded afterwards."""
    import comfy.model_management

    yield comfy
    comfy.model_management.unload_all_models()
    comfy.model_management.cleanup_models_gc()
    gc.collect()


@pytest.fixture(scope="session")
def sd15_checkpoint() -> Path:
    """An SD-1.5 checkpoint file with random weights: full size, fp16."""
    return write_sd15_checkpoint()


class _Servers:
    """Starts at most one server per version, when a test first asks for it.

    Only the server asked for last keeps its models: several GiB where they are of SD-1.5's size.
    """

    def __init__(self, stack: ExitStack, folder: pytest.TempPathFactory) -> None:
        self._stack = stack
        self._folder = folder
        self._running: dict[str, ComfyUIServer] = {}

    def get(self, version: str) -> ComfyUIServer:
        server = self._running.get(version)
        if server is None or not server.is_running:
            base_directory = self._folder.mktemp(f"comfyui-{version}-")
            server = ComfyUIServer(
                prepare(version),
                base_directory=base_directory,
                device="cpu",
                arguments=["--preview-method", "auto"],
            )
            self._running[version] = self._stack.enter_context(server)
        for other in self._running.values():
            if other is not server and other.is_running:
                other.client().free()
        return server


@pytest.fixture(scope="module")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Servers]:
    with ExitStack() as stack:
        yield _Servers(stack, tmp_path_factory)


@pytest.fixture
def comfyui_server(_servers: _Servers) -> ComfyUIServer:
    """The newest supported ComfyUI with the pack; one process for a file's tests."""
    return _servers.get(comfyui_versions()[0])


@pytest.fixture
def oldest_comfyui_server(_servers: _Servers) -> ComfyUIServer:
    """The oldest supported ComfyUI with the pack."""
    return _servers.get(comfyui_versions()[-1])


@pytest.fixture(params=comfyui_versions())
def every_comfyui_server(_servers: _Servers, request: pytest.FixtureRequest) -> ComfyUIServer:
    """Each supported ComfyUI in turn, with the pack."""
    return _servers.get(request.param)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Any:
    """Add the end of the servers' logs to a failed test's report."""
    report = yield
    servers = getattr(item, "funcargs", {}).get("_servers")
    if report.failed and isinstance(servers, _Servers):
        for version, server in servers._running.items():
            report.sections.append((f"log of ComfyUI {version}", server.log_tail()))
    return report
