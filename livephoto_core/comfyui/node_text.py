"""A word on a node, in the front end of whoever runs the graph."""

from __future__ import annotations

from server import PromptServer

_BLANK = " "  # the front end passes over an empty text, and leaves the old one
_nodes_with_text: set[tuple[str, str]] = set()


def show_on_node(node_id: str, text: str | None) -> None:
    """Writes a text on a node, below its widgets; None takes an earlier one away.

    Only in the front end that runs the graph: in others a node of the same id is another one.

    Args:
        node_id: The node's `unique_id`.
        text: What to write. The front end keeps it until there is another, also over runs.
    """
    server = PromptServer.instance
    client = server.client_id
    if client is None:
        return
    if text is not None:
        _nodes_with_text.add((client, node_id))
    elif (client, node_id) in _nodes_with_text:
        _nodes_with_text.remove((client, node_id))
    else:
        return
    server.send_progress_text(text or _BLANK, node_id, client)
