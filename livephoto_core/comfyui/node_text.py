"""A word on a node, in the front end of whoever runs the graph."""

from __future__ import annotations

from server import PromptServer

_BLANK = " "  # the front end passes over an empty text, and leaves the old one
_nodes_with_text: set[str] = set()


def show_on_node(node_id: str, text: str | None) -> None:
    """Writes a text on a node, below its widgets; None takes an earlier one away.

    Args:
        node_id: The node's `unique_id`.
        text: What to write. The front end keeps it until there is another, also over runs.
    """
    if text is not None:
        _nodes_with_text.add(node_id)
    elif node_id in _nodes_with_text:
        _nodes_with_text.remove(node_id)
    else:
        return
    PromptServer.instance.send_progress_text(text or _BLANK, node_id)
