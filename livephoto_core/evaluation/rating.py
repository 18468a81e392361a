"""A blind rating as a static page: who made a video is known only to a key that stays behind.

| file | who gets it |
|---|---|
| `page/index.html`, `page/videos/`, `page/photos/` | raters; open the page in any browser |
| `key.json` | whoever evaluates: method and sample of every video |
"""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..file_digest import file_sha256
from .protocol import VIDEO_SUFFIX, Sample, video_path

Kind = Literal["pick", "rate"]

CRITERIA = (
    {
        "name": "image_consistency",
        "label": "Image consistency",
        "about": "Does the video keep the identity of what the photo shows?",
    },
    {
        "name": "text_consistency",
        "label": "Text consistency",
        "about": "Does the motion follow the sentence?",
    },
    {
        "name": "content_quality",
        "label": "Content quality",
        "about": "Is the video smooth, coherent and sharp?",
    },
    {
        "name": "motion_quality",
        "label": "Motion quality",
        "about": "Is the motion reasonable, in speed and deformation?",
    },
)
"""The paper's four perspectives (section 4.3)."""

_TEMPLATE = Path(__file__).with_name("rating.html")
_ID_BITS = 64


@dataclass(frozen=True)
class RatedVideo:
    """A video that somebody is going to judge.

    Args:
        method: Who made it.
        sample: What was asked for.
        path: The file.
    """

    method: str
    sample: Sample
    path: Path


def find_videos(
    folder: Path, methods: Iterable[str], samples: Sequence[Sample]
) -> list[RatedVideo]:
    """The videos of all methods.

    Raises:
        ValueError: If one is missing: methods are compared on the same samples.
    """
    videos = [
        RatedVideo(method, sample, video_path(folder, method, sample))
        for method in methods
        for sample in samples
    ]
    missing = [video.path for video in videos if not video.path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(videos)} videos are missing, such as {missing[0]}. Make them "
            "with `python -m livephoto_core.evaluation run`."
        )
    return videos


def write_page(kind: Kind, videos: Sequence[RatedVideo], output: Path, *, seed: int = 0) -> Path:
    """Writes the page and its key.

    Args:
        kind: "pick": raters choose the best seed of each method, photo and sentence. "rate": they
            rate every video from 1 to 5.
        videos: All that are to be judged.
        output: Folder, which must not hold a rating yet.
        seed: Of the order and of the names of the videos; other videos have other names with the
            same seed, so that no answer to one study passes for one to another.
    Returns:
        The page.
    Raises:
        ValueError: If the folder holds a rating already.
    """
    page = output / "page"
    if page.exists():
        raise ValueError(f"--output: {output} holds a rating already. Give another folder.")
    rng = _generator(kind, videos, seed)
    ids = {id(video): f"{rng.getrandbits(_ID_BITS):016x}" for video in videos}
    for folder in ("videos", "photos"):
        (page / folder).mkdir(parents=True)
    for video in videos:
        shutil.copyfile(video.path, page / "videos" / f"{ids[id(video)]}{VIDEO_SUFFIX}")
    study = f"{rng.getrandbits(_ID_BITS):016x}"
    items = _items(kind, videos, ids, page, rng)
    content = {"id": study, "kind": kind, "criteria": CRITERIA, "items": items}
    key = {ids[id(video)]: _described(video) for video in videos}
    (output / "key.json").write_text(
        json.dumps({"id": study, "kind": kind, "videos": key}, indent=1)
    )
    index = page / "index.html"
    index.write_text(
        _TEMPLATE.read_text("utf-8").replace("STUDY_JSON", _embedded(content)), "utf-8"
    )
    return index


def _generator(kind: Kind, videos: Sequence[RatedVideo], seed: int) -> random.Random:
    study = [{**_described(video), "sha256": file_sha256(video.path)} for video in videos]
    return random.Random(json.dumps([kind, study, seed]))  # noqa: S311 - an order, no secret


def picked_videos(
    videos: Sequence[RatedVideo], picks: Mapping[tuple[str, str], int]
) -> list[RatedVideo]:
    """One video for each method, photo and sentence.

    Args:
        videos: All seeds.
        picks: The chosen seed by (method, case), from `rating_results.count_picks`.
    Raises:
        ValueError: If a choice is missing.
    """
    cases = {(video.method, video.sample.case) for video in videos}
    undecided = sorted(cases - picks.keys())
    if undecided:
        raise ValueError(
            f"--picks: nobody chose among the videos of {' for '.join(undecided[0])} "
            f"({len(undecided)} of {len(cases)} are undecided)."
        )
    return [v for v in videos if picks[v.method, v.sample.case] == v.sample.seed]


def _items(
    kind: Kind,
    videos: Sequence[RatedVideo],
    ids: Mapping[int, str],
    page: Path,
    rng: random.Random,
) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, int | None], list[RatedVideo]] = {}
    for video in videos:
        seed = video.sample.seed if kind == "rate" else None
        groups.setdefault((video.method, video.sample.case, seed), []).append(video)
    photos: dict[Path, str] = {}
    items = []
    for group in groups.values():
        sample = group[0].sample
        if sample.image not in photos:
            photos[sample.image] = f"{len(photos):04d}{sample.image.suffix}"
            shutil.copyfile(sample.image, page / "photos" / photos[sample.image])
        names = [ids[id(video)] for video in group]
        rng.shuffle(names)
        item = {"id": names[0], "photo": photos[sample.image], "prompt": sample.prompt}
        items.append({**item, "videos": names} if kind == "pick" else item)
    rng.shuffle(items)
    return items


def _described(video: RatedVideo) -> dict[str, Any]:
    sample = {**dataclasses.asdict(video.sample), "image": video.sample.image.name}
    return {"method": video.method, "case": video.sample.case, **sample}


def _embedded(content: Any) -> str:
    # "</script>" in a sentence must not end the block.
    return json.dumps(content).replace("<", "\\u003c")
