"""What the front end would send, against a workflow in API format."""

from __future__ import annotations

from typing import Any

Workflow = dict[str, dict[str, Any]]
"""A workflow in API format."""


def input_defaults(object_info: dict[str, Any], class_type: str) -> dict[str, Any]:
    """Inputs that this ComfyUI knows, with their defaults."""
    inputs = object_info[class_type]["input"]
    described = {**inputs.get("required", {}), **inputs.get("optional", {})}
    return {
        name: options[0].get("default") if options else None
        for name, (_, *options) in described.items()
    }


def links_and_values(
    workflow: Workflow, twin: Workflow, object_info: dict[str, Any]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Class and inputs of every node.

    Without inputs that this ComfyUI does not have, and without those that it has, the twin does not
    name, and the workflow leaves at their defaults.
    """
    nodes = {}
    for key, node in workflow.items():
        defaults = input_defaults(object_info, node["class_type"])
        named = twin[key]["inputs"] if key in twin else {}
        inputs = {
            name: value
            for name, value in node["inputs"].items()
            if name in defaults and (name in named or value != defaults[name])
        }
        nodes[key] = (node["class_type"], inputs)
    return nodes


def unknown_inputs(workflow: Workflow, object_info: dict[str, Any]) -> list[str]:
    """Inputs of the pack's nodes that the workflow names and they do not have, as "8.frames"."""
    return [
        f"{key}.{name}"
        for key, node in workflow.items()
        if object_info[node["class_type"]]["category"] == "LivePhoto"
        for name in node["inputs"]
        if name not in input_defaults(object_info, node["class_type"])
    ]
