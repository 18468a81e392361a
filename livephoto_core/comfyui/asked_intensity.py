"""Which motion intensity was asked for the frames that a node gets."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from comfy_execution.graph_utils import is_link

_ASKING_NODES = ("LivePhotoSampler", "ApplyLivePhoto")


class Asked(NamedTuple):
    """A motion intensity, and the node on which it was set."""

    node: str
    motion_intensity: float


def asked_intensity(
    prompt: dict[str, Any] | None, node_id: str | None, input_name: str
) -> Asked | None:
    """The nearest intensity upstream of an input, in the graph as it ran.

    Args:
        prompt: ComfyUI's API prompt: node id → {"class_type", "inputs"}. It has no reroutes and
            subgraphs any more, and no muted or bypassed nodes.
        node_id: The node that gets the frames.
        input_name: Its input.
    Returns:
        `None` if the frames come from elsewhere, or the intensity is computed by another node.
    """
    if prompt is None or node_id is None:
        return None
    waiting = deque(_sources(prompt, node_id, (input_name,)))
    seen: set[str] = set()
    while waiting:
        source = waiting.popleft()
        if source in seen:
            continue
        seen.add(source)
        node = prompt[source]
        if node["class_type"] in _ASKING_NODES:
            value = node["inputs"].get("motion_intensity")
            return Asked(source, float(value)) if isinstance(value, int | float) else None
        waiting.extend(_sources(prompt, source, node["inputs"]))
    return None


def _sources(prompt: dict[str, Any], node_id: str, input_names: Any) -> list[str]:
    """Ids of the nodes that feed the inputs of a node."""
    inputs = prompt.get(str(node_id), {}).get("inputs", {})
    values = (inputs.get(name) for name in input_names)
    return [value[0] for value in values if is_link(value) and value[0] in prompt]
