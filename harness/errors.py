"""How a workflow can fail, with what ComfyUI says about it."""

from __future__ import annotations

from typing import Any


class WorkflowError(RuntimeError):
    """ComfyUI refused a workflow, or a node of it failed.

    Args:
        message: What ComfyUI said, in one or more lines.
        node_id: Id of the (first) node concerned; None where the whole workflow is.
        class_type: Class of that node.
        exception_type: Python class of the exception in the node; None for a refused workflow.
        traceback: The server's traceback; empty for a refused workflow.
    """

    def __init__(
        self,
        message: str,
        *,
        node_id: str | None = None,
        class_type: str | None = None,
        exception_type: str | None = None,
        traceback: str = "",
    ) -> None:
        where = f"node {node_id} ({class_type}): " if node_id is not None else ""
        super().__init__(where + message)
        self.message = message
        self.node_id = node_id
        self.class_type = class_type
        self.exception_type = exception_type
        self.traceback = traceback


class WorkflowInterruptedError(RuntimeError):
    """The run was interrupted before its end."""


class ConnectionLostError(RuntimeError):
    """The server went away during a run."""


def node_failure(data: dict[str, Any]) -> WorkflowError:
    """Turn ComfyUI's message about a node that raised into an error."""
    return WorkflowError(
        data["exception_message"].strip(),
        node_id=data["node_id"],
        class_type=data["node_type"],
        exception_type=data["exception_type"],
        traceback="".join(data["traceback"]),
    )


def refusal(answer: dict[str, Any]) -> WorkflowError:
    """Turn the answer of /prompt to an invalid workflow into one error."""
    lines = []
    first: tuple[str, str] | None = None
    for node_id, node in (answer.get("node_errors") or {}).items():
        first = first or (node_id, node["class_type"])
        for error in node["errors"]:
            label = f"node {node_id} ({node['class_type']}): " if lines else ""
            lines.append(f"{label}{error['message']}: {error['details']}")
    error = answer.get("error") or {}
    if not lines:
        lines.append(f"{error.get('message', 'refused')}: {error.get('details', '')}".rstrip(": "))
        extra = error.get("extra_info") or {}
        if "node_id" in extra:
            first = (extra["node_id"], extra.get("class_type", ""))
    node_id, class_type = first or (None, None)
    return WorkflowError("\n".join(lines), node_id=node_id, class_type=class_type)
