"""Puts ComfyUI on the path before test files are read, as tests/comfyui does."""

from __future__ import annotations

import pytest

from harness.environment import prepare
from livephoto_core.comfyui.standalone import use_comfyui


def pytest_configure(config: pytest.Config) -> None:
    use_comfyui(prepare().comfyui, device=config.getoption("device"))
