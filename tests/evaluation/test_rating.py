"""The blind rating: page, key, results, tables."""

from __future__ import annotations

import json
import re
from itertools import cycle

import pytest

from livephoto_core.evaluation.__main__ import main
from livephoto_core.evaluation.rating import CRITERIA
from tests.evaluation.studies import METHODS, write_benchmark, write_results, write_videos

NAMES = [criterion["name"] for criterion in CRITERIA]


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    return write_benchmark(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def videos(benchmark, tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("videos"), benchmark)


@pytest.fixture
def page(benchmark, videos):
    """Writes a page; returns the exit status."""

    def write(kind, output, *more):
        arguments = [kind, str(benchmark), "--videos", str(videos), "--methods", *METHODS]
        return main(["page", *arguments, "--output", str(output), *map(str, more)])

    return write


def read_study(output):
    html = (output / "page" / "index.html").read_text()
    [embedded] = re.findall(r'<script id="study" type="application/json">(.*?)</script>', html)
    return json.loads(embedded), json.loads((output / "key.json").read_text())["videos"]


def test_rating_page_is_blind_and_whole(page, tmp_path):
    assert page("rate", tmp_path / "study") == 0
    study, key = read_study(tmp_path / "study")
    files = {path.stem for path in (tmp_path / "study" / "page" / "videos").iterdir()}
    assert {item["id"] for item in study["items"]} == set(key) == files
    assert len(files) == 16
    everything = (tmp_path / "study" / "page" / "index.html").read_text()
    assert not any(method in everything for method in METHODS)
    assert {item["prompt"] for item in study["items"]} >= {"she </script> smiles"}
    methods = [key[item["id"]]["method"] for item in study["items"]]
    assert methods != sorted(methods), "the order would tell"
    assert len(list((tmp_path / "study" / "page" / "photos").iterdir())) == 3


def test_pick_page_shows_all_seeds_of_a_case_together(page, tmp_path):
    assert page("pick", tmp_path / "study") == 0
    study, key = read_study(tmp_path / "study")
    assert len(study["items"]) == 8
    for item in study["items"]:
        cases = {(key[video]["method"], key[video]["case"]) for video in item["videos"]}
        assert len(cases) == 1 and {key[video]["seed"] for video in item["videos"]} == {0, 1}


def test_picked_videos_are_the_ones_that_get_rated(page, tmp_path):
    page("pick", tmp_path / "pick")
    study, key = read_study(tmp_path / "pick")
    best = {
        item["id"]: max(item["videos"], key=lambda v: key[v]["seed"]) for item in study["items"]
    }
    other = {
        item["id"]: min(item["videos"], key=lambda v: key[v]["seed"]) for item in study["items"]
    }
    key_path = tmp_path / "pick" / "key.json"
    raters = [("ann", best), ("bob", best), ("eve", other)]
    results = [write_results(tmp_path / f"{n}.json", key_path, n, answers) for n, answers in raters]
    picks = ["--picks", *results, "--picks-key", key_path]
    assert page("rate", tmp_path / "rate", *picks) == 0
    _, rated = read_study(tmp_path / "rate")
    assert len(rated) == 8 and {video["seed"] for video in rated.values()} == {1}


def test_table_has_the_mean_of_every_method_and_perspective(page, tmp_path, capsys):
    page("rate", tmp_path / "study")
    _, key = read_study(tmp_path / "study")

    def answers(*scores):
        """Of each method's videos in turn the one and the other score."""
        ratings = {
            method: cycle(of_method) for method, of_method in zip(METHODS, scores, strict=True)
        }
        return {v: dict.fromkeys(NAMES, next(ratings[video["method"]])) for v, video in key.items()}

    key_path = tmp_path / "study" / "key.json"
    one = write_results(tmp_path / "one.json", key_path, "ann", answers((5, 3), (2, 2)))
    two = write_results(tmp_path / "two.json", key_path, "bob", answers((4, 2), (3, 3)))
    assert main(["table", str(one), str(two), "--key", str(key_path)]) == 0
    table = capsys.readouterr().out
    # 8 videos each with two ratings. Half have a mean of 4.5, half of 2.5: error 1.069 / √8.
    assert "| LivePhoto | 3.5 ± 0.4 | 3.5 ± 0.4 | 3.5 ± 0.4 | 3.5 ± 0.4 | 16 |" in table
    # All have the same mean, on which the raters do not agree.
    assert "| PIA | 2.5 ± 0.0 |" in table
    assert main(["table", str(one), str(one), "--key", str(key_path)]) == 2
    assert "'ann' has answered already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"nobody": {}}, "the answer for nobody is none of this study's"),
        ("none", "holds no answers"),
    ],
)
def test_answers_of_something_else_are_refused(answers, message, page, tmp_path, capsys):
    page("rate", tmp_path / "study")
    key_path = tmp_path / "study" / "key.json"
    results = write_results(tmp_path / "r.json", key_path, "ann", answers)
    assert main(["table", str(results), "--key", str(key_path)]) == 2
    assert message in capsys.readouterr().err


def test_ratings_out_of_range_and_of_other_studies_are_refused(page, tmp_path, capsys):
    page("rate", tmp_path / "study")
    page("rate", tmp_path / "other", "--seed", "1")
    key_path = tmp_path / "study" / "key.json"
    video = next(iter(json.loads(key_path.read_text())["videos"]))
    six = write_results(tmp_path / "six.json", key_path, "ann", {video: {NAMES[0]: 6}})
    assert main(["table", str(six), "--key", str(key_path)]) == 2
    assert main(["table", str(six), "--key", str(tmp_path / "other" / "key.json")]) == 2
    shown = capsys.readouterr().err
    assert f"the answer for {video}" in shown and "belongs to another study" in shown


def test_studies_of_other_videos_have_other_names_with_the_same_seed(page, videos, tmp_path):
    page("rate", tmp_path / "study")
    page("rate", tmp_path / "same")
    changed = next(videos.rglob("*.mp4"))
    content = changed.read_bytes()
    changed.write_bytes(content + b"made anew")
    page("rate", tmp_path / "other")
    changed.write_bytes(content)
    keys = [json.loads((tmp_path / name / "key.json").read_text()) for name in ("study", "other")]
    assert keys[0]["id"] != keys[1]["id"]
    assert not keys[0]["videos"].keys() & keys[1]["videos"].keys()
    assert keys[0] == json.loads((tmp_path / "same" / "key.json").read_text())


def test_missing_video_and_used_folder_are_refused(page, videos, tmp_path, capsys):
    assert page("rate", tmp_path / "study") == 0
    assert page("rate", tmp_path / "study") == 2
    assert "holds a rating already" in capsys.readouterr().err
    video = next((videos / "PIA").rglob("*.mp4"))
    moved = video.rename(tmp_path / "away.mp4")
    try:
        assert page("rate", tmp_path / "new") == 2
        assert "1 of 16 videos are missing, such as" in capsys.readouterr().err
    finally:
        moved.rename(video)
