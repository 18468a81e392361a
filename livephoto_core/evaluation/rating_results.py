"""What raters said, as the paper's table 3."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .json_files import read_object
from .markdown import markdown_table
from .rating import CRITERIA

_NAMES = [str(criterion["name"]) for criterion in CRITERIA]
_HIGHEST = 5


def read_results(key_path: Path, paths: Sequence[Path], kind: str) -> tuple[dict, list[dict]]:
    """The key's videos by id, and the answers of every rater.

    Raises:
        ValueError: If a file is damaged, of another study, or a rater's file is given twice.
    """
    key = read_object(key_path, "--key")
    if key.get("kind") != kind:
        raise ValueError(f"--key: {key_path} is of a study to {key.get('kind')}, not to {kind}.")
    answers, raters = [], set()
    for path in paths:
        results = read_object(path, "results")
        if results.get("study") != key["id"]:
            raise ValueError(f"{path.name} belongs to another study than {key_path}.")
        rater = results.get("rater")
        if rater in raters:
            raise ValueError(f"{path.name}: {rater!r} has answered already. Give each file once.")
        raters.add(rater)
        answers.append(_checked(path, results, key["videos"], kind))
    return key["videos"], answers


def count_picks(videos: dict[str, Any], answers: Sequence[dict]) -> dict[tuple[str, str], int]:
    """The seed that most raters chose, by (method, case); of equals the lowest."""
    votes: dict[tuple[str, str], Counter] = {}
    for answer in answers:
        for chosen in answer.values():
            video = videos[chosen]
            votes.setdefault((video["method"], video["case"]), Counter())[video["seed"]] += 1
    return {case: min(c, key=lambda seed: (-c[seed], seed)) for case, c in votes.items()}


def rating_table(videos: dict[str, Any], answers: Sequence[dict]) -> str:
    """Mean rating of each method and perspective with its standard error, as Markdown (table 3).

    Mean and error are over videos, of what their raters gave in the mean: ratings of one video are
    not independent of each other.
    """
    ratings: dict[str, dict[str, dict[str, list[int]]]] = {}
    for answer in answers:
        for video, values in answer.items():
            of_method = ratings.setdefault(videos[video]["method"], {name: {} for name in _NAMES})
            for name, value in values.items():
                of_method[name].setdefault(video, []).append(value)
    header = ["method", *(str(criterion["label"]) for criterion in CRITERIA), "ratings"]
    lines = []
    for method, values in ratings.items():
        count = max(sum(map(len, of_video.values())) for of_video in values.values())
        lines.append([method, *(_mean(values[name]) for name in _NAMES), str(count)])
    return markdown_table(header, lines, has_numbers=True)


def _mean(ratings: dict[str, list[int]]) -> str:
    if not ratings:
        return "–"
    means = [statistics.fmean(values) for values in ratings.values()]
    error = statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else 0.0
    return f"{statistics.fmean(means):.1f} ± {error:.1f}"


def _checked(path: Path, results: dict, videos: dict[str, Any], kind: str) -> dict[str, Any]:
    answers = results.get("answers")
    if not isinstance(answers, dict):
        raise ValueError(f"{path.name} holds no answers.")
    for video, answer in answers.items():
        is_known = video in videos and (kind == "rate" or answer in videos)
        if not is_known or (kind == "rate" and not _are_ratings(answer)):
            raise ValueError(f"{path.name}: the answer for {video} is none of this study's.")
    return answers


def _are_ratings(answer: Any) -> bool:
    return isinstance(answer, dict) and all(
        name in _NAMES and type(value) is int and 1 <= value <= _HIGHEST
        for name, value in answer.items()
    )
