import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from livephoto_core.training.preparation.clip_sampling import ClipConfig, cut, draw_for
from livephoto_core.training.preparation.decoding import read_clip
from livephoto_core.training.preparation.unusable import UnusableVideoError
from livephoto_core.training.preparation.video_file import open_video
from tests.training.preparation.videos import (
    draw_number,
    moving_texture,
    read_numbers,
    rotate_on_display,
    write_sound,
    write_video,
)

SIZE = (64, 64)
NUM_FRAMES = 150
SEEDS = range(12)

B_FRAMES = {"g": "12", "bf": "3"}
FORMATS = {
    "one-keyframe.mp4": {},
    "b-frames.mp4": {"options": B_FRAMES},
    "open-gop.mp4": {"options": B_FRAMES | {"x264-params": "open-gop=1"}},
    "ntsc.mp4": {"options": B_FRAMES, "rate": Fraction(30000, 1001)},
    "b-frames.mkv": {"options": B_FRAMES},
    "b-frames.ts": {"options": B_FRAMES},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12"}},
}


def expected_numbers(clip):
    return [clip.start_frame + i * clip.stride for i in range(len(clip.frames))]


@pytest.mark.parametrize("name", FORMATS)
def test_clip_has_exactly_the_frames_that_were_drawn(name, tmp_path):
    path = write_video(tmp_path / name, moving_texture(NUM_FRAMES), **FORMATS[name])
    for seed in SEEDS:
        config = ClipConfig(size_px=SIZE, seed=seed)
        clip = read_clip(path, name, config)
        wanted = cut(draw_for(name, config), available=NUM_FRAMES, num_frames=16)
        assert (clip.start_frame, clip.stride) == (wanted.start, wanted.stride)
        assert read_numbers(clip.frames) == expected_numbers(clip)


def test_stride_counts_real_frames_where_their_rate_varies(tmp_path):
    pauses = np.random.default_rng(0).integers(10, 120, NUM_FRAMES)
    pts = np.cumsum(pauses).tolist()
    path = write_video(tmp_path / "phone.mkv", moving_texture(NUM_FRAMES), pts=pts)
    first_numbers = set()
    for seed in SEEDS:
        clip = read_clip(path, "phone.mkv", ClipConfig(size_px=SIZE, seed=seed))
        numbers = read_numbers(clip.frames)
        assert set(np.diff(numbers)) == {clip.stride}
        first_numbers.add(numbers[0])
    assert len(first_numbers) > 6


def test_late_clip_does_not_read_what_lies_far_before_it(tmp_path):
    path = write_video(tmp_path / "long.mp4", moving_texture(600), options={"g": "30"})
    config = ClipConfig(size_px=SIZE, seed=0)
    name = next(n for n in map(str, range(99)) if draw_for(n, config).place > 0.9)
    with av.open(str(path)) as container:
        packets = [(p.pts, p.pos, p.size) for p in container.demux(video=0) if p.size]
        time_base = container.streams.video[0].time_base
    content = bytearray(path.read_bytes())
    for pts, position, size in packets:
        if pts * time_base < 12:  # of 20 s
            content[position : position + size] = bytes(size)
    path.write_bytes(content)
    clip = read_clip(path, name, config)
    assert clip.start_frame > 400
    assert read_numbers(clip.frames) == expected_numbers(clip)


@pytest.mark.parametrize("num_frames", [16, 17, 31, 40])
def test_stride_shrinks_for_a_video_too_short_for_it(num_frames, tmp_path):
    path = write_video(tmp_path / "short.mp4", moving_texture(num_frames), options=B_FRAMES)
    clip = read_clip(path, "short.mp4", ClipConfig(size_px=SIZE, strides=(6, 6)))
    assert clip.stride == (num_frames - 1) // 15
    assert read_numbers(clip.frames) == expected_numbers(clip)


def test_video_that_ends_before_its_header_says_gives_what_is_there(tmp_path):
    path = write_video(tmp_path / "cut.mkv", moving_texture(120), options={"g": "10"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    with open_video(path) as video:
        assert video.claimed_frames == 120
        available = sum(1 for _ in video.frames())
    assert 16 < available < 60
    name = next(n for n in map(str, range(99)) if draw_for(n, ClipConfig()).place > 0.9)
    clip = read_clip(path, name, ClipConfig(size_px=SIZE, strides=(6, 6)))
    assert clip.stride == (available - 1) // 15
    assert read_numbers(clip.frames) == expected_numbers(clip)


def test_video_without_time_stamps_is_read_from_its_start(tmp_path):
    path = write_video(tmp_path / "raw.h264", moving_texture(120))
    clip = read_clip(path, "raw.h264", ClipConfig(size_px=SIZE, strides=(3, 3)))
    assert (clip.start_frame, clip.stride) == (0, 3)
    assert read_numbers(clip.frames) == expected_numbers(clip)


def _three_frames(path):
    write_video(path, moving_texture(3))


def _random_bytes(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def _no_index(path):
    write_video(path, moving_texture(30))
    path.write_bytes(path.read_bytes()[:-1500])


def _partial_download(path):
    options = {"movflags": "faststart"}
    write_video(path, moving_texture(120), options={"g": "1"}, container_options=options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])


def _damaged_pictures(path):
    write_video(path, moving_texture(30), options={"g": "5"})
    content = bytearray(path.read_bytes())
    start, end = content.index(b"mdat"), content.index(b"moov")
    noise = np.random.default_rng(0).bytes(end - start)
    for position in range(start + 1000, end - 300, 200):
        content[position : position + 60] = noise[:60]
    path.write_bytes(content)


BROKEN = {
    "missing": (lambda path: None, "the file is missing"),
    "empty": (lambda path: path.touch(), "the file is empty"),
    "three frames": (_three_frames, "has 3 frames, 16 are needed"),
    "sound only": (write_sound, "has no video stream"),
    "random bytes": (_random_bytes, "cannot be decoded: Invalid data"),
    "no index": (_no_index, "cannot be decoded: Invalid data"),
    "partial download": (_partial_download, "cannot be decoded: Invalid data"),
    "damaged pictures": (_damaged_pictures, "is damaged|cannot be decoded"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_video_is_refused_with_the_reason(kind, tmp_path):
    make, reason = BROKEN[kind]
    make(tmp_path / "broken.mp4")
    # The largest stride, so that the clip cannot lie in an unharmed part.
    config = ClipConfig(size_px=SIZE, strides=(6, 6))
    with pytest.raises(UnusableVideoError, match=reason):
        read_clip(tmp_path / "broken.mp4", "broken.mp4", config)


def test_rotation_in_the_header_is_applied(tmp_path):
    frames = moving_texture(16, width=128, height=64)
    path = write_video(tmp_path / "phone.mp4", frames, options={"qp": "1"})
    rotate_on_display(path)
    clip = read_clip(path, "phone.mp4", ClipConfig(size_px=(64, 128)))
    upright = np.rot90(frames, -1, axes=(1, 2)).astype(int)
    assert np.abs(clip.frames.astype(int) - upright).mean() < 3


def test_pixels_that_are_not_square_are_made_square(tmp_path):
    stored = moving_texture(16, width=64, height=128)
    path = write_video(
        tmp_path / "dvd.mp4", stored, options={"qp": "1"}, sample_aspect_ratio=Fraction(2)
    )
    clip = read_clip(path, "dvd.mp4", ClipConfig(size_px=(128, 128)))
    wide = np.stack([np.asarray(Image.fromarray(f).resize((128, 128), 1)) for f in stored])
    assert np.abs(clip.frames.astype(int) - wide).mean() < 3


@pytest.mark.parametrize("size", [(64, 64), (96, 48), (48, 96)])
def test_pictures_are_pillows_lanczos_of_the_centre_crop(size, tmp_path):
    frames = np.random.default_rng(1).integers(0, 256, (16, 120, 192, 3), dtype=np.uint8)
    path = write_video(tmp_path / "lossless.mkv", frames, codec="ffv1", pixel_format="bgr0")
    clip = read_clip(path, "lossless.mkv", ClipConfig(size_px=size))
    crop = {(64, 64): (36, 0, 156, 120), (96, 48): (0, 12, 192, 108), (48, 96): (66, 0, 126, 120)}
    lanczos = Image.Resampling.LANCZOS
    expected = [Image.fromarray(f).crop(crop[size]).resize(size, lanczos) for f in frames]
    np.testing.assert_array_equal(clip.frames, np.stack([np.asarray(e) for e in expected]))


@pytest.mark.parametrize("matrix", ["ITU601", "ITU709"])
def test_colours_follow_the_matrix_that_the_video_names(matrix, tmp_path):
    colours = np.array([[200, 30, 40], [40, 180, 60], [30, 60, 190], [210, 200, 40]])
    picture = colours.astype(np.uint8).repeat(16, axis=0)[None].repeat(64, axis=0)
    path = tmp_path / "colours.mp4"
    tag = {"ITU601": 6, "ITU709": 1}[matrix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"qp": "1"})
        stream.width = stream.height = 64
        stream.codec_context.colorspace = tag
        for _ in range(16):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=matrix)
            frame.pts = None
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = read_clip(path, "colours.mp4", ClipConfig(size_px=SIZE))
    middles = clip.frames[0, 32, 8::16].astype(int)
    assert np.abs(middles - colours).max() < 8


MEASURE_MEMORY = """
import resource, sys
from pathlib import Path
from livephoto_core.training.preparation.clip_sampling import ClipConfig
from livephoto_core.training.preparation.decoding import read_clip
for name in sys.argv[1:]:
    clip = read_clip(Path(name), Path(name).name, ClipConfig(size_px=(256, 256), strides=(1, 1)))
    assert clip.frames.shape == (16, 256, 256, 3)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_4k_clip_needs_memory_for_a_few_frames_not_for_all(tmp_path):
    small = write_video(tmp_path / "small.mp4", moving_texture(20))
    frame = np.zeros((2160, 3840, 3), dtype=np.uint8)
    frame[::7] = 200
    frames = np.broadcast_to(frame, (20, *frame.shape)).copy()
    for number in range(20):
        draw_number(frames[number], number)
    options = {"preset": "ultrafast", "g": "10"}
    large = write_video(tmp_path / "4k.mp4", frames, options=options, thread_count=2)
    command = [sys.executable, "-c", MEASURE_MEMORY, str(small), str(large)]
    root = Path(__file__).parents[3]
    output = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    small_mib, large_mib = map(int, output.split())
    all_frames_mib = frames[:16].nbytes / 2**20
    assert large_mib - small_mib < all_frames_mib / 2


def test_frames_larger_than_the_limit_are_refused_before_decoding(tmp_path, monkeypatch):
    module = "livephoto_core.training.preparation.video_file.MAX_FRAME_PX"
    monkeypatch.setattr(module, 95 * 96)
    path = write_video(tmp_path / "huge.mp4", moving_texture(16))
    with pytest.raises(UnusableVideoError, match="96×96 px are too large"), open_video(path):
        pass
