"""Which motion intensity was asked for the frames that a node gets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from comfy_execution.graph import DynamicPrompt
from comfy_execution.graph_utils import is_link

_ASKING_NODES = ("LivePhotoSampler", "ApplyLivePhoto")


class Asked(NamedTuple):
    """A motion intensity, and the node of the screen on which it was set."""

    node: str
    motion_intensity: float


def asked_intensity(
    prompt: DynamicPrompt | None, node_id: str | None, input_name: str
) -> Asked | None:
    """The nearest intensity upstream of an input, in the graph as it ran.

    Args:
        prompt: The graph as ComfyUI runs it, with what loops and the like have added to it. It
            has no reroutes and subgraphs any more, and no muted or bypassed nodes.
        node_id: The node that gets the frames.
        input_name: Its input.
    Returns:
        `None` if the frames come from elsewhere, or the intensity is computed by another node.
    """
    if prompt is None or node_id is None:
        return None
    waiting = deque(_sources(prompt, [prompt.get_node(node_id)["inputs"].get(input_name)]))
    seen: set[str] = set()
    while waiting:
        source = waiting.popleft()
        if source in seen:
            continue
        seen.add(source)
        node = prompt.get_node(source)
        if node["class_type"] in _ASKING_NODES:
            value = node["inputs"].get("motion_intensity")
            is_set = isinstance(value, int | float)
            return Asked(prompt.get_display_node_id(source), float(value)) if is_set else None
        waiting.extend(_sources(prompt, node["inputs"].values()))
    return None


def _sources(prompt: DynamicPrompt, values: Iterable[object]) -> list[str]:
    """Ids of the nodes that feed the inputs that have these values."""
    links = [value[0] for value in values if isinstance(value, list) and is_link(value)]
    return [node_id for node_id in links if prompt.has_node(node_id)]
