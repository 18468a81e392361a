"""The command line: what reaches the study, and what is refused before it begins."""

from __future__ import annotations

import sys

import pytest

from livephoto_core.evaluation.__main__ import main
from livephoto_core.evaluation.claims import command
from livephoto_core.evaluation.claims.study import COUNTS, Study
from livephoto_core.evaluation.claims.variants import TABLE_1, TABLE_2
from tests.evaluation.claims.study_files import write_study_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_study_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def begun(monkeypatch):
    """The studies that were begun."""
    studies = []
    monkeypatch.setattr(command, "run", studies.append)
    monkeypatch.setattr(command, "write_report", lambda study: None)
    return studies


def claims(files, output, *options: str) -> int:
    given = [str(word) for name, path in files.items() for word in (f"--{name}", path)]
    return main(["claims", *given, "--output", str(output), *options])


def test_without_options_the_study_is_the_default_one(files, tmp_path, begun):
    assert claims(files, tmp_path) == 0
    assert begun == [Study(output=tmp_path, **files)]
    assert COUNTS == {
        "motion": 96,
        "conflicting": 96,
        "motion_only": 48,
        "without_text": 16,
        "level": 48,
    }


def test_options_reach_the_study(files, tmp_path, begun):
    numbers = {
        "--start-steps": 1,
        "--steps": 2,
        "--clips-per-step": 3,
        "--processes": 4,
        "--sampling-steps": 5,
        "--seeds": 6,
        "--motion": 11,
        "--conflicting": 12,
        "--motion-only": 13,
        "--without-text": 14,
        "--level": 15,
        "--device": "cuda",
    }
    assert claims(files, tmp_path, *(str(word) for pair in numbers.items() for word in pair)) == 0
    counts = {"motion": 11, "conflicting": 12, "motion_only": 13, "without_text": 14, "level": 15}
    assert begun == [
        Study(
            output=tmp_path,
            start_steps=1,
            num_steps=2,
            clips_per_step=3,
            num_processes=4,
            sampling_steps=5,
            seeds=(6,),
            counts=counts,
            device="cuda",
            **files,
        )
    ]


def test_rows_of_ours_may_be_left_out(files, tmp_path, begun):
    claims(files, tmp_path, "--rows", "paper")
    assert begun[0].variants == (*TABLE_1, *TABLE_2[1:])


@pytest.mark.parametrize("name", ["base", "data", "checkpoint"])
def test_file_that_does_not_open_is_refused_by_its_option(files, tmp_path, begun, capsys, name):
    assert claims({**files, name: tmp_path / "nowhere"}, tmp_path) == 2
    assert capsys.readouterr().err.startswith(f"--{name}: ")
    assert not begun


def test_clips_that_are_not_whole_are_refused(files, tmp_path, begun, capsys):
    facts = files["data"] / "shapes_clips.json"
    (tmp_path / facts.name).write_text(facts.read_text())
    assert claims({**files, "data": tmp_path}, tmp_path) == 2
    assert "latents.npy" in capsys.readouterr().err
    assert not begun


def test_missing_matplotlib_is_said_before_any_training(
    files, tmp_path, begun, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert claims(files, tmp_path) == 2
    assert "matplotlib: install the extra `report`" in capsys.readouterr().err
    assert not begun
