"""JSON files that people hand in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_object(path: Path, kind: str) -> dict[str, Any]:
    """A JSON object from a file.

    Args:
        path: The file.
        kind: What it should hold, for the message.
    Raises:
        ValueError: If it cannot be read, or holds something else than an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{kind}: {path} cannot be read ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{kind}: {path.name} must hold a JSON object.")
    return content
