"""`make demo` behind its command line: a real server, real videos, real pictures."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from harness.demo import SHEET_NAME, run_demo, video_name
from harness.demo_picture import read_picture
from harness.demo_plan import Request

REQUESTS = (Request("a red heart moves left", 3), Request("the dinosaur waves!", 7.5))


@pytest.fixture
def short(monkeypatch):
    """Two sampling steps for each video."""
    from harness import demo, demo_plan

    def build(*arguments, **options):
        workflow = demo_plan.build_workflow(*arguments, **options)
        for node in workflow.values():
            node["inputs"] |= {"steps": 2} if "steps" in node["inputs"] else {}
        return workflow

    monkeypatch.setattr(demo, "build_workflow", build)


def read_video(path) -> np.ndarray:
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 8
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


@pytest.mark.usefixtures("short")
def test_demo_leaves_videos_and_a_sheet_and_says_what_they_show(comfyui_server, tmp_path, capsys):
    output = tmp_path / "made" / "here"
    client = comfyui_server.client()
    results = run_demo(client, read_picture(None), REQUESTS, seed=0, output=output)

    names = ["01-a-red-heart-moves-left-level-3.mp4", "02-the-dinosaur-waves-level-7.5.mp4"]
    assert sorted(path.name for path in output.iterdir()) == [*names, SHEET_NAME]
    for name, result in zip(names, results, strict=True):
        video = read_video(output / name)
        assert video.shape == (16, 64, 64, 3) and result.frames.shape == video.shape
        # The same clip but for the compression of the mp4.
        assert np.abs(video / 255 - result.frames.numpy()).mean() < 0.06
    assert (results[0].frames != results[1].frames).any(), "both sentences gave the same"
    with Image.open(output / SHEET_NAME) as sheet:
        assert sheet.height == 2 * (2 * 64 + 8) + 8

    printed, progress = capsys.readouterr()
    assert "The demo model does not know dinosaur. Its words are: a, an, another" in printed
    assert f"Contact sheet: {output / SHEET_NAME}" in printed
    for result in results:
        assert result.request.prompt in printed
    assert "Video 2 of 2: 100%" in progress and "4/4" in progress


@pytest.mark.usefixtures("short")
def test_seed_changes_the_video(comfyui_server, tmp_path):
    frames = [
        run_demo(comfyui_server.client(), read_picture(None), REQUESTS[:1], seed=s, output=tmp_path)
        for s in (1, 2)
    ]
    assert (frames[0][0].frames != frames[1][0].frames).any()


@pytest.mark.parametrize(
    ("prompt", "level", "name"),
    [
        ("A red heart, LEFT", 5.0, "03-a-red-heart-left-level-5.mp4"),
        ("../../etc", 1.5, "03-etc-level-1.5.mp4"),
        ("", 10.0, "03--level-10.mp4"),
    ],
)
def test_file_name_is_safe_and_tells_what_was_asked(prompt, level, name):
    assert video_name(2, Request(prompt, level)) == name


def test_file_name_is_never_too_long():
    assert len(video_name(0, Request("word " * 500, 5))) < 100
