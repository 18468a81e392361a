"""Where the nodes of a workflow lie: stages from left to right, columns by depth inside a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tests.browser.comparison import Workflow

TITLE_PX = 30  # A node's title bar lies above its position.
GAP_PX = 30
COLUMN_GAP_PX = 60
GROUP_MARGIN_PX = 20
GROUP_TITLE_PX = 40
DEFAULT_WIDTH_PX = 300


class Box(NamedTuple):
    """A rectangle; y grows downwards. A node's box begins below its title bar."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Stage:
    """A step of the work that gets a group of its own.

    Args:
        title: Of the group.
        classes: Node classes that belong to it.
        is_stacked: One column for all, rather than one per depth.
    """

    title: str
    classes: tuple[str, ...]
    is_stacked: bool = False


STAGES = (
    Stage(
        "1 Load",
        (
            "CheckpointLoaderSimple",
            "LoraLoader",
            "LivePhotoLoader",
            "LivePhotoDINOv2Loader",
            "LivePhotoDemoModel",
        ),
    ),
    Stage("2 Photo and text", ("LoadImage", "CLIPTextEncode", "ReferenceEncode", "TextReweight")),
    Stage(
        "3 Animate",
        (
            "PriorInversion",
            "LivePhotoSampler",
            "ApplyLivePhoto",
            "ContextWindowsManual",
            "CFGGuider",
            "KSamplerSelect",
            "BasicScheduler",
            "KSampler",
            "SamplerCustomAdvanced",
        ),
    ),
    Stage("4 Save", ("VAEDecode", "CreateVideo", "SaveVideo"), is_stacked=True),
    Stage("5 Measure", ("MotionIntensity", "PreviewImage"), is_stacked=True),
)

WIDTHS_PX = {
    "CheckpointLoaderSimple": 380,
    "LivePhotoLoader": 380,
    "LivePhotoDINOv2Loader": 380,
    "LivePhotoDemoModel": 380,
    "CLIPTextEncode": 340,
    "LoadImage": 340,
}
# Some get room for the pictures and words they show when they have run.
MIN_HEIGHTS_PX = {
    "CLIPTextEncode": 110,
    "LoadImage": 340,
    "LivePhotoDemoModel": 340,
    "LivePhotoLoader": 240,
    "ReferenceEncode": 440,
    "LivePhotoSampler": 620,
    "SaveVideo": 400,
    "MotionIntensity": 340,
    "PreviewImage": 240,
}
NOTE_SIZE_PX = (420, 320)

# Grows by as many lines as its sentence needs: last in its column, above free space.
GROWING = ("TextReweight",)


@dataclass(frozen=True)
class Layout:
    """The result of `lay_out`.

    Args:
        nodes: Node id → its box.
        groups: Title and box of every stage that has nodes.
        note: Box of the note.
    """

    nodes: dict[str, Box]
    groups: list[tuple[str, Box]]
    note: Box

    @property
    def bounds(self) -> Box:
        """The smallest box around everything."""
        boxes = [*(box for _, box in self.groups), self.note]
        left, top = min(box.x for box in boxes), min(box.y for box in boxes)
        right = max(box.x + box.width for box in boxes)
        bottom = max(box.y + box.height for box in boxes)
        return Box(left, top, right - left, bottom - top)


def lay_out(workflow: Workflow, heights_px: dict[str, int]) -> Layout:
    """Place all nodes, a group around each stage, and a note below the first.

    Args:
        workflow: In API format; every class must be named in `STAGES`.
        heights_px: Node id → the least height its widgets need.
    Raises:
        ValueError: If a class belongs to no stage.
    """
    _check_classes(workflow)
    nodes: dict[str, Box] = {}
    groups = []
    x = 0
    for stage in STAGES:
        columns = _columns(workflow, stage)
        if not columns:
            continue
        placed = _place(workflow, columns, heights_px, left=x + GROUP_MARGIN_PX)
        nodes |= placed
        groups.append((stage.title, _around(placed, x)))
        x = groups[-1][1].x + groups[-1][1].width + COLUMN_GAP_PX
    first = groups[0][1]
    top = first.y + first.height + GAP_PX + TITLE_PX
    note = Box(first.x, top, *NOTE_SIZE_PX)
    return Layout(nodes, groups, note)


def _check_classes(workflow: Workflow) -> None:
    known = {name for stage in STAGES for name in stage.classes}
    unknown = {node["class_type"] for node in workflow.values()} - known
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: add these to a stage in {__name__}.")


def _columns(workflow: Workflow, stage: Stage) -> list[list[str]]:
    """Ids of the stage's nodes, by column and in order from top to bottom."""
    ids = [key for key, node in workflow.items() if node["class_type"] in stage.classes]
    depths = {key: _depth(workflow, key, within=ids) for key in ids}
    if stage.is_stacked:
        return [sorted(ids, key=lambda key: (depths[key], int(key)))] if ids else []
    columns: list[list[str]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for key in sorted(ids, key=lambda key: (workflow[key]["class_type"] in GROWING, int(key))):
        columns[depths[key]].append(key)
    return columns


def _depth(workflow: Workflow, key: str, within: list[str]) -> int:
    """Length of the longest path to a node that stays in the stage."""
    sources = [value[0] for value in workflow[key]["inputs"].values() if isinstance(value, list)]
    depths = [_depth(workflow, source, within) for source in sources if source in within]
    return max(depths, default=-1) + 1


def _place(
    workflow: Workflow, columns: list[list[str]], heights_px: dict[str, int], *, left: int
) -> dict[str, Box]:
    boxes = {}
    for column in columns:
        classes = {key: workflow[key]["class_type"] for key in column}
        width = max(WIDTHS_PX.get(name, DEFAULT_WIDTH_PX) for name in classes.values())
        y = GROUP_TITLE_PX + TITLE_PX
        for key, name in classes.items():
            height = max(heights_px[key], MIN_HEIGHTS_PX.get(name, 0))
            boxes[key] = Box(left, y, width, height)
            y += height + GAP_PX + TITLE_PX
        left += width + COLUMN_GAP_PX
    return boxes


def _around(boxes: dict[str, Box], left: int) -> Box:
    right = max(box.x + box.width for box in boxes.values()) + GROUP_MARGIN_PX
    bottom = max(box.y + box.height for box in boxes.values()) + GROUP_MARGIN_PX
    return Box(left, 0, right - left, bottom)
