"""The help pages that ComfyUI shows for the pack's nodes."""

from __future__ import annotations

from pathlib import Path

import requests

DOCS = Path(__file__).parents[2] / "nodes" / "web" / "docs"


def our_nodes(server) -> dict:
    info = server.client().object_info()
    return {name: node for name, node in info.items() if node["category"] == "LivePhoto"}


def test_front_end_finds_the_help_of_every_node(every_comfyui_server):
    nodes = our_nodes(every_comfyui_server)
    assert {path.stem for path in DOCS.glob("*.md")} == set(nodes)
    for name, node in nodes.items():
        # The front end takes the pack's name from here, up to the first dot.
        pack = node["python_module"].split(".")[1]
        url = f"{every_comfyui_server.url}/extensions/{pack}/docs/{name}.md"
        response = requests.get(url, timeout=60)
        assert response.status_code == 200, url
        assert response.content == (DOCS / f"{name}.md").read_bytes()


def test_help_names_every_input_and_output(comfyui_server):
    for name, node in our_nodes(comfyui_server).items():
        page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        inputs = [*node["input"].get("required", {}), *node["input"].get("optional", {})]
        for slot in [*inputs, *node["output_name"]]:
            assert f"| `{slot}` |" in page, f"{name}.md explains no {slot}"
