"""ComfyUI's template browser finds the pack's workflows, and can show and open them."""

from __future__ import annotations

from pathlib import Path

import requests

from harness.server import PACK_FOLDER_NAME

WORKFLOWS = Path(__file__).parents[2] / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))


def test_template_browser_lists_every_workflow(every_comfyui_server):
    response = requests.get(f"{every_comfyui_server.url}/api/workflow_templates", timeout=60)
    assert sorted(response.json()[PACK_FOLDER_NAME]) == NAMES
    assert NAMES


def test_every_template_and_its_picture_are_served(every_comfyui_server):
    folder = f"{every_comfyui_server.url}/api/workflow_templates/{PACK_FOLDER_NAME}"
    for name in NAMES:
        template = requests.get(f"{folder}/{name}.json", timeout=60)
        assert template.content == (WORKFLOWS / f"{name}.json").read_bytes()
        picture = requests.get(f"{folder}/{name}.jpg", timeout=60)
        assert picture.content == (WORKFLOWS / f"{name}.jpg").read_bytes()
        assert picture.headers["Content-Type"] == "image/jpeg"
