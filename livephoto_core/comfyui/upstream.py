"""What stands upstream of a node, in the graph as it runs: its sentence, its motion intensity."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from comfy_execution.graph import DynamicPrompt
from comfy_execution.graph_utils import is_link

_ASKING_NODES = ("LivePhotoSampler", "ApplyLivePhoto")
_TEXT_NODES = ("PrimitiveString", "PrimitiveStringMultiline")


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


def traced_text(prompt: DynamicPrompt | None, node_id: str | None, input_name: str) -> str | None:
    """The sentence that was encoded into a conditioning input, as far as the graph shows it.

    Args:
        prompt: The graph as ComfyUI runs it, with what loops and the like have added to it.
        node_id: The node whose input is asked for.
        input_name: The conditioning input.
    Returns:
        The text of the CLIPTextEncode that feeds the input, `None` if another kind of node does:
        only of core's nodes it is known that the text shown is the text encoded.
    """
    if prompt is None or node_id is None:
        return None
    encoder = _linked_node(prompt, prompt.get_node(node_id), input_name)
    if encoder is None or encoder["class_type"] != "CLIPTextEncode":
        return None
    text = encoder["inputs"].get("text")
    if isinstance(text, str):
        return text
    source = _linked_node(prompt, encoder, "text")
    if source is None or source["class_type"] not in _TEXT_NODES:
        return None
    value = source["inputs"].get("value")
    return value if isinstance(value, str) else None


def _linked_node(
    prompt: DynamicPrompt, node: dict[str, Any], input_name: str
) -> dict[str, Any] | None:
    sources = _sources(prompt, [node["inputs"].get(input_name)])
    return prompt.get_node(sources[0]) if sources else None
