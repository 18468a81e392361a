import subprocess
import sys

import pytest

from harness.commands import main, set_input
from harness.environment import REPOSITORY


@pytest.fixture
def workflow():
    return {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "color": 0}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "a", "images": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "b", "images": ["1", 0]}},
    }


@pytest.mark.parametrize(
    ("assignment", "node", "name", "value"),
    [
        ("1.width=128", "1", "width", 128),
        ("EmptyImage.width=0.5", "1", "width", 0.5),
        ("2.filename_prefix=a=b.c", "2", "filename_prefix", "a=b.c"),
        ('2.images=["1", 1]', "2", "images", ["1", 1]),
    ],
)
def test_set_input_changes_the_named_input(workflow, assignment, node, name, value):
    set_input(workflow, assignment)
    assert workflow[node]["inputs"][name] == value


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("1.width", "expected NODE.INPUT=VALUE"),
        ("width=3", "expected NODE.INPUT=VALUE"),
        ("1.height=3", "no input of this name: width, color"),
        ("SaveImage.filename_prefix=x", "'SaveImage' fits 2 of"),
        ("9.width=3", "'9' fits 0 of"),
    ],
)
def test_set_input_says_what_is_wrong(workflow, assignment, message):
    with pytest.raises(ValueError, match=message):
        set_input(workflow, assignment)


def test_main_reports_an_unknown_release_in_one_line(capsys, monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    assert main(["setup", "--comfyui", "0.1.0"]) == 1
    assert capsys.readouterr().err.startswith("error: ComfyUI 0.1.0 is not pinned")


@pytest.mark.slow
def test_module_of_the_pack_finds_comfyui(monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    counts = ["--motion", "1", "--without-text", "0", "--level", "0", "--steps", "1"]
    command = [sys.executable, "-m", "harness", "module", "livephoto_core.shapes", "evaluate"]
    done = subprocess.run(
        [*command, *counts, "--processes", "1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "motion_accuracy: " in done.stdout
