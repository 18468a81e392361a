"""What the pack says to an artist: names as they stand on the nodes, and help that quotes it right.

Read from the source's syntax trees, so that no sentence needs a run to be checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
NODES, CORE = REPOSITORY / "nodes", REPOSITORY / "livephoto_core"
SAID_TO_ARTISTS = (NODES, CORE / "comfyui", CORE / "checkpoints")
HELP_PAGES = [REPOSITORY / "README.md", *sorted((NODES / "web" / "docs").glob("*.md"))]

VALUE = "…"
"""Stands for what is only known in a run, in the source's sentences and in the help."""

NOT_OURS = {"out of memory", "Value not in list"}
WORDS = re.compile(r"\w+ [\w .-]*\w")
EDGE_TYPES = ("LIVEPHOTO", "LATENT")


def strings(path: Path) -> Iterator[str]:
    """All strings of a file but those that document it."""
    yield from _strings(ast.parse(path.read_text(encoding="utf-8")))


def _strings(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values
        )
    for child in ast.iter_child_nodes(node):
        # A sentence's parts are no sentences, but what stands inside its braces may be.
        if not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
            yield from _strings(child)


@cache
def strings_below(*folders: Path) -> list[str]:
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [text for path in files for text in strings(path)]


@cache
def class_names() -> list[str]:
    """Of the nodes, as they stand in workflows and nowhere on the screen."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in NODES.glob("*.py")]
    keywords = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.keyword)]
    return [
        word.value.value
        for word in keywords
        if word.arg == "node_id"
        and isinstance(word.value, ast.Constant)
        and isinstance(word.value.value, str)
    ]


def unseen_names(text: str) -> list[str]:
    """Names in a sentence that an artist sees on no node."""
    names = "|".join([*class_names(), *EDGE_TYPES])
    return re.findall(rf"\b(?:{names})\b", text) if re.search(r"\s", text) else []


def test_sentences_call_nodes_and_inputs_as_the_screen_does():
    assert len(class_names()) >= 9
    said = strings_below(*SAID_TO_ARTISTS)
    assert len(said) > 500
    assert [text for text in said if unseen_names(text)] == []


@pytest.mark.parametrize("name", ["TextReweight", "LivePhotoLoader", "LATENT"])
def test_names_that_nobody_sees_are_found(name):
    assert unseen_names(f"Set frames of {name} to 16.") == [name]
    assert unseen_names(name) == [], "a name alone is no sentence"


def quoted_messages(page: Path) -> list[str]:
    """First column of the tables whose head says "message"."""
    messages, is_quoting = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            is_quoting = False
        elif cells[0].startswith("message"):
            is_quoting = True
        elif is_quoting and set(cells[0]) != {"-"}:
            messages.append(cells[0])
    return messages


def is_said(message: str, said: list[str]) -> bool:
    """Whether a string of the source can read like a quotation, in which "…" is anything."""
    if matches(message, said):
        return True
    # What stands by itself in the source may be the value in another sentence: "a LoRA".
    values = [text for text in said if WORDS.fullmatch(text) and text in message]
    for value in sorted(values, key=len, reverse=True):
        message = message.replace(value, VALUE)
    return matches(message, said)


def matches(message: str, said: list[str]) -> bool:
    pieces = [re.escape(piece.strip()) for piece in message.split(VALUE)]
    assert re.search(r"\w{3}", message), "nothing of it is left to look for"
    quotation = re.compile(".*".join(pieces), re.DOTALL)
    return any(quotation.search(text) for text in said)


@pytest.mark.parametrize("page", HELP_PAGES, ids=lambda page: page.name)
def test_help_quotes_messages_that_there_are(page):
    said = strings_below(NODES, CORE)
    messages = set(quoted_messages(page)) - NOT_OURS
    assert [message for message in sorted(messages) if not is_said(message, said)] == []


def test_help_quotes_messages():
    assert sum(len(quoted_messages(page)) for page in HELP_PAGES) > 40


@pytest.mark.parametrize(
    ("message", "is_there"),
    [
        ("model: this is an inpainting model", True),
        ("… holds a LoRA, not a motion model …", True),
        ("frames: … is more than … can take at once", True),
        ("model: … predicts V_PREDICTION", False),
        ("model: this is a dinosaur", False),
    ],
)
def test_quotations_are_found_in_the_source(message, is_there):
    assert is_said(message, strings_below(NODES, CORE)) is is_there
