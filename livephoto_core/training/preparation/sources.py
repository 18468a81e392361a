"""Where videos and captions come from: a WebVid-style CSV, a JSONL manifest or a folder."""

from __future__ import annotations

import csv
import hashlib
import json
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from .folder_order import files_below

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm")


@dataclass(frozen=True)
class SourceConfig:
    """Which videos to prepare.

    Args:
        source: `.csv` (WebVid's columns), `.jsonl` with {"video", "caption"} on every line, or a
            folder with `clip.mp4` beside `clip.txt`, at any depth.
        videos: Folder to which the names in a CSV or JSONL are relative; by default the one the
            file lies in.
        video_path: How a CSV row names its video, from the row's columns; WebVid's layout by
            default.
        caption_column: The CSV column with the caption.
        part: (i, n): only the i-th of n parts of the videos, split by a hash of the name, so that n
            machines can share the work. Counted from 1.
    """

    source: Path
    videos: Path | None = None
    video_path: str = "{page_dir}/{videoid}.mp4"
    caption_column: str = "name"
    part: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if not self.source.is_dir() and not self.source.is_file():
            raise ValueError(f"--source: {self.source} is not there. Give a CSV, JSONL or folder.")
        if self.source.is_file() and self.source.suffix.lower() not in (".csv", ".jsonl"):
            raise ValueError(
                f"--source must be a folder, or a file that ends in .csv or .jsonl, got "
                f"{self.source.name}."
            )
        if not self.videos_folder.is_dir():
            raise ValueError(f"--videos: {self.videos} is no folder.")
        index, count = self.part
        if not 1 <= index <= count:
            raise ValueError(f"--shard-of must be from 1/n to n/n, got {index}/{count}.")
        if self.source.suffix.lower() == ".csv" and self.source.is_file():
            _check_columns(self)

    @property
    def videos_folder(self) -> Path:
        """The folder to which names are relative."""
        if self.source.is_dir():
            return self.source
        return self.videos or self.source.parent


@dataclass(frozen=True)
class VideoSource:
    """One video of the source.

    Args:
        position: Its place in the whole source, over all parts; unique and stable.
        name: As the source names it, relative to the folder of videos.
        folder: The folder of videos.
        caption: The text; `None` where it lies beside the video, in a file that ends in .txt.
        problem: Why the source's entry cannot be used, if so.
    """

    position: int
    name: str
    folder: Path
    caption: str | None = None
    problem: str | None = None

    @property
    def path(self) -> Path:
        """The file, which may be missing."""
        return self.folder / self.name


def iterate_sources(config: SourceConfig) -> Iterator[VideoSource]:
    """The videos of this machine's part, in the source's order, one at a time.

    Memory does not grow with their number. Broken entries come too, with their `problem`.
    """
    if config.source.is_dir():
        found = _from_folder(config)
    elif config.source.suffix.lower() == ".csv":
        found = _from_csv(config)
    else:
        found = _from_jsonl(config)
    return (video for video in found if _is_in_part(video.name, config.part))


def _is_in_part(name: str, part: tuple[int, int]) -> bool:
    index, count = part
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % count == index - 1


def _from_folder(config: SourceConfig) -> Iterator[VideoSource]:
    files = files_below(config.source)
    videos = (name for name in files if name.lower().endswith(VIDEO_SUFFIXES))
    for position, name in enumerate(videos):
        yield VideoSource(position, name, config.source)


def _from_csv(config: SourceConfig) -> Iterator[VideoSource]:
    folder = config.videos_folder
    # Broken UTF-8 must not stop the other ten million rows; the row itself is refused later.
    with config.source.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for position, row in enumerate(_rows(file, config.source.name)):
            values = {column: value or "" for column, value in row.items() if column}
            name = config.video_path.format_map(values)
            yield VideoSource(position, name, folder, values[config.caption_column])


def _rows(file: TextIO, name: str) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(file)
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(
            f"--source: {name} cannot be read after line {reader.line_num} ({error}). Look there "
            "for a quotation mark that is never closed."
        ) from error


def _from_jsonl(config: SourceConfig) -> Iterator[VideoSource]:
    folder = config.videos_folder
    with config.source.open(encoding="utf-8", errors="replace") as file:
        lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
        for position, (number, line) in enumerate(lines):
            entry = _parse(line)
            if entry is None:
                problem = 'is not {"video": "…", "caption": "…"}'
                name = f"{config.source.name} line {number}"
                yield VideoSource(position, name, folder, problem=problem)
            else:
                name, caption = entry
                yield VideoSource(position, name, folder, caption)


def _parse(line: str) -> tuple[str, str] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    name, caption = entry.get("video"), entry.get("caption")
    if not (isinstance(name, str) and isinstance(caption, str)):
        return None
    return (name, caption) if _is_text(name) and _is_text(caption) else None


def _is_text(text: str) -> bool:
    try:
        text.encode()  # JSON may hold half an emoji, which no file and no tokenizer takes
    except UnicodeEncodeError:
        return False
    return True


def _check_columns(config: SourceConfig) -> None:
    with config.source.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        columns = csv.DictReader(file).fieldnames or ()
    has = f"{config.source.name} has {', '.join(columns) or 'none'}"
    if config.caption_column not in columns:
        raise ValueError(f"--caption-column: there is no column {config.caption_column!r}; {has}.")
    for _, field, _, _ in string.Formatter().parse(config.video_path):
        if field is not None and field not in columns:
            raise ValueError(f"--video-path: there is no column {field!r}; {has}.")
