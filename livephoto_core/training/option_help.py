"""All options of a training with their values, and what their dataclasses say of them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap

from .config import TrainingConfig, list_options

_ENTRY = re.compile(r" {4}(\w+(?:, \w+)*): (.*)")
_WIDTH = 96


def explain_options(config: TrainingConfig) -> str:
    """Every option as `--set` takes it, and below it what it does."""
    blocks = []
    for line in list_options(config):
        group, name = line.partition("=")[0].split(".")
        about = documented_fields(type(getattr(config, group)))[name]
        blocks.append(f"{line}\n{textwrap.indent(textwrap.fill(about, _WIDTH - 4), '    ')}")
    return "\n".join(blocks)


def documented_fields(kind: type) -> dict[str, str]:
    """What the section "Args" of a dataclass's docstring says of its fields, in one line each."""
    entries: list[tuple[str, list[str]]] = []
    for line in inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")[2].splitlines():
        found = _ENTRY.fullmatch(line)
        if found:
            entries.append((found[1], [found[2]]))
        elif entries:
            entries[-1][1].append(line.strip())
    texts = {name: " ".join(about) for names, about in entries for name in names.split(", ")}
    return {option.name: texts[option.name] for option in dataclasses.fields(kind)}
