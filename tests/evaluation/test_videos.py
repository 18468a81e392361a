"""Clips in every form that people keep them in."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from livephoto_core.evaluation.videos import (
    UnreadableClipError,
    chunks,
    find_clips,
    read_frames,
    read_picture,
)

COUNT = 11
FRAMES = np.zeros((COUNT, 32, 48, 3), dtype=np.uint8)
for number in range(COUNT):
    FRAMES[number, :, 4 * number : 4 * number + 8] = (200, 20 * number, 0)


def write_video(path):
    with av.open(str(path), "w") as container:
        # As SaveVideo writes it, so that browsers play it.
        stream = container.add_stream("libx264", rate=8, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = *FRAMES.shape[1:3], "yuv420p"
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_animation(path):
    first, *others = map(Image.fromarray, FRAMES)
    options = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=others, duration=125, loop=0, **options)


def write_folder(path):
    path.mkdir()
    for number, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(path / f"frame_{number}.png")


@pytest.mark.parametrize(
    ("name", "write", "tolerance"),
    [
        ("a.mp4", write_video, 16),
        ("a.gif", write_animation, 16),
        ("a.webp", write_animation, 0),
        ("a.apng", write_animation, 0),
        ("a", write_folder, 0),
    ],
)
def test_frames_come_in_order(name, write, tolerance, tmp_path):
    write(tmp_path / name)
    [path] = find_clips(tmp_path)
    assert path.name == name
    read = np.stack(list(read_frames(path))).astype(int)
    assert read.shape == FRAMES.shape
    assert np.abs(read - FRAMES).mean(axis=(1, 2, 3)).max() <= tolerance


def test_frames_are_read_one_at_a_time(tmp_path):
    write_folder(tmp_path / "a")
    (tmp_path / "a" / "frame_10.png").write_bytes(b"no picture")
    frames = read_frames(tmp_path / "a")
    assert np.array_equal(next(frames), FRAMES[0])
    with pytest.raises(UnreadableClipError, match="frame_10.png: cannot be decoded"):
        list(frames)


def test_clips_are_found_at_any_depth_and_sorted(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    write_video(tmp_path / "b" / "deep" / "z.MP4")
    write_folder(tmp_path / "a")
    (tmp_path / "b" / "readme.txt").write_text("no clip")
    names = [path.relative_to(tmp_path).as_posix() for path in find_clips(tmp_path)]
    assert names == ["a", "b/deep/z.MP4"]


def test_folder_without_clips_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no clip"):
        find_clips(tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        find_clips(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.png"])
def test_damaged_file_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x00" * 100)
    read = read_picture if name.endswith("png") else lambda path: list(read_frames(path))
    with pytest.raises(UnreadableClipError, match=f"{name}: cannot be decoded"):
        read(tmp_path / name)


def test_frames_of_different_sizes_are_refused(tmp_path):
    write_folder(tmp_path / "a")
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "frame_5.png")
    with pytest.raises(UnreadableClipError, match="frames differ in size"):
        list(read_frames(tmp_path / "a"))


def test_chunks_hold_all_frames():
    assert [len(part) for part in chunks(FRAMES, 4)] == [4, 4, 3]
