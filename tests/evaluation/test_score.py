"""Scores of clips against a direct computation, and the command."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from livephoto_core.evaluation.__main__ import main
from livephoto_core.evaluation.frame_encoders import FrameEncoder
from livephoto_core.evaluation.protocol import read_benchmark
from livephoto_core.evaluation.score import FRAMES_PER_BATCH, score_frames
from livephoto_core.evaluation.videos import read_frames, read_picture
from livephoto_core.motion_intensity import mean_ssim
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import sample_scene
from tests.evaluation.evaluation_models import write_clip, write_dino
from tests.evaluation.studies import write_benchmark, write_videos
from tests.evaluation.test_videos import write_animation, write_folder, write_video


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"clip": write_clip(folder / "clip"), "dino": write_dino(folder / "dino")}


@pytest.fixture(scope="module")
def frames():
    scene = sample_scene(0, 0, motions=("move_right",))
    clip = render_clip(scene, num_frames=2 * FRAMES_PER_BATCH + 3, size_px=64)
    return (clip * 255).round().byte().numpy()


def test_scores_are_those_of_all_frames_at_once(models, frames):
    encoders = {kind: FrameEncoder(folder, kind) for kind, folder in models.items()}
    score = score_frames("clip", iter(frames), encoders)
    images = torch.from_numpy(frames).float() / 255
    assert score.num_frames == len(frames)
    assert score.ssim == pytest.approx(mean_ssim(images), abs=1e-6)
    for kind, encode in encoders.items():
        embeddings = F.normalize(encode(frames), dim=-1)
        adjacent = (embeddings[1:] * embeddings[:-1]).sum(dim=-1).mean()
        assert score.adjacent[kind] == pytest.approx(100 * adjacent.item(), abs=1e-3)
        to_photo = 100 * embeddings @ embeddings[0]
        assert score.reference_per_frame[kind] == pytest.approx(to_photo.tolist(), abs=1e-3)
        assert score.reference[kind] == pytest.approx(to_photo.mean().item(), abs=1e-3)


def test_photo_takes_the_place_of_the_first_frame(models, frames):
    encoders = {"dino": FrameEncoder(models["dino"], "dino")}
    photo = 255 - frames[0]
    score = score_frames("clip", iter(frames), encoders, photo=photo)
    own = score_frames("clip", iter(frames), encoders)
    assert own.reference_per_frame["dino"][0] == pytest.approx(100, abs=1e-3)
    assert score.reference_per_frame["dino"][0] < 99.9
    assert score.adjacent == own.adjacent


def test_one_frame_is_no_clip(frames):
    with pytest.raises(ValueError, match="fewer than two frames"):
        score_frames("clip", iter(frames[:1]), {})


def test_command_scores_every_clip_and_lists_what_it_could_not_read(models, tmp_path, capsys):
    clips = tmp_path / "clips"
    clips.mkdir()
    write_video(clips / "one.mp4")
    write_animation(clips / "two.webp")
    write_folder(clips / "three")
    (clips / "broken.mp4").write_bytes(b"\x00" * 64)
    arguments = ["score", str(clips), "--clip", str(models["clip"]), "--dino", str(models["dino"])]
    assert main([*arguments, "--output", str(tmp_path / "out"), "--device", "cpu"]) == 1
    shown = capsys.readouterr()
    assert "| **mean** |" in shown.out
    assert "Left out: broken.mp4: cannot be decoded" in shown.err
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").open()))
    assert [row["clip"] for row in rows] == ["one", "three", "two"]
    details = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert float(rows[0]["CLIP adjacent"]) == pytest.approx(details[0]["adjacent"]["clip"])
    assert len(details[0]["reference_per_frame"]["dino"]) == 11
    # The same frames, but for the video's compression.
    assert float(rows[1]["DINO adjacent"]) == pytest.approx(
        float(rows[2]["DINO adjacent"]), abs=1e-3
    )
    assert (tmp_path / "out" / "scores.md").read_text().strip() in shown.out


def test_command_without_models_measures_motion_and_flicker(tmp_path, capsys):
    write_folder(tmp_path / "clip")
    assert main(["score", str(tmp_path)]) == 0
    assert "| clip | frames | SSIM | level | flicker |" in capsys.readouterr().out


def test_clips_are_named_by_their_folders_which_have_means_of_their_own(tmp_path, capsys):
    for name in ("PIA/humans/h1-1-seed0", "PIA/humans/h2-1-seed0", "LivePhoto/humans/h1-1-seed0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(tmp_path / f"{name}.mp4")
    (tmp_path / "PIA" / "humans" / "h1-1-seed0.png").write_bytes(b"what some video nodes save")
    assert main(["score", str(tmp_path)]) == 0
    first_cells = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines()]
    assert first_cells == [
        "clip",
        "---",
        "LivePhoto/humans/h1-1-seed0",
        "PIA/humans/h1-1-seed0",
        "PIA/humans/h2-1-seed0",
        "**mean of PIA**",
    ]


def test_photos_may_be_those_of_the_benchmark(models, tmp_path, capsys):
    benchmark = write_benchmark(tmp_path / "benchmark")
    videos = write_videos(tmp_path / "videos", benchmark)
    given = ["score", str(videos), "--references", str(benchmark), "--dino", str(models["dino"])]
    assert main([*given, "--output", str(tmp_path / "out")]) == 0
    details = json.loads((tmp_path / "out" / "scores.json").read_text())
    samples = {sample.name: sample.image for sample in read_benchmark(benchmark)}
    encode = FrameEncoder(models["dino"], "dino")
    for score in details[:3]:
        image = samples[score["name"].split("/", 1)[1]]
        frames = np.stack(list(read_frames(videos / f"{score['name']}.mp4")))
        photo, *clip = F.normalize(encode(np.stack([read_picture(image), *frames])), dim=-1)
        expected = 100 * torch.stack(clip) @ photo
        assert score["reference_per_frame"]["dino"] == pytest.approx(expected.tolist(), abs=1e-3)


def test_references_that_are_not_there_are_named(tmp_path, capsys):
    write_folder(tmp_path / "clip")
    assert main(["score", str(tmp_path / "clip"), "--references", str(tmp_path / "no")]) == 2
    assert "no is not there. Give a folder, or a benchmark.json." in capsys.readouterr().err


def test_missing_references_are_named(tmp_path, capsys):
    write_folder(tmp_path / "clip")
    photos = tmp_path / "photos"
    photos.mkdir()
    assert main(["score", str(tmp_path / "clip"), "--references", str(photos)]) == 2
    assert "has no picture for clip" in capsys.readouterr().err


def test_folder_of_unreadable_clips_is_an_error(tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"")
    assert main(["score", str(tmp_path)]) == 2
    assert "not one of 1 clips" in capsys.readouterr().err
