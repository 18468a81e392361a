import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from livephoto_core.begun_folder import check_settings
from livephoto_core.motion_intensity import DEFAULT_EDGES, level_edges, mean_ssim
from livephoto_core.training.preparation.clip_sampling import ClipConfig
from livephoto_core.training.preparation.decoding import read_clip
from livephoto_core.training.preparation.examples import Rejection, make_example
from livephoto_core.training.preparation.level_histogram import RESOLUTION
from livephoto_core.training.preparation.preparation import PreparationConfig
from livephoto_core.training.preparation.sources import SourceConfig, VideoSource
from livephoto_core.training.prepared_clips import PreparedClips
from tests.training.preparation.prepare_tiny import prepare_tiny
from tests.training.preparation.tiny_encoder import TEXT_WIDTH, TinyEncoder
from tests.training.preparation.videos import moving_texture, write_sound, write_video

ROOT = Path(__file__).parents[3]
SPEEDS_PX = [0.0, 0.2, 0.4, 0.7, 1.0, 1.4, 1.9, 2.5, 3.2, 4.0, 5.0]
CONFIG = ClipConfig(size_px=(64, 64))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Good videos of rising speed, and one of each broken kind between them."""
    folder = tmp_path_factory.mktemp("videos")
    for number, speed in enumerate(SPEEDS_PX):
        frames = moving_texture(24, speed_px=speed, seed=number % 3)
        frames[:, :24] = 128
        # One stride for all (24 frames leave no room for more), so that speed alone decides.
        write_video(folder / f"{number:02d}.mp4", frames)
        (folder / f"{number:02d}.txt").write_text(f"  a texture number {number} drifts\n")
    write_video(folder / "00_short.mp4", moving_texture(3))
    write_sound(folder / "03_sound.mp4")
    (folder / "05_empty.mp4").touch()
    (folder / "05_noise.mp4").write_bytes(np.random.default_rng(0).bytes(4000))
    write_video(folder / "07_silent.mp4", moving_texture(20))
    (folder / "07_silent.txt").write_text(" \n")
    write_video(folder / "99_alone.mp4", moving_texture(20))
    for stem in ("00_short", "03_sound", "05_empty", "05_noise"):
        (folder / f"{stem}.txt").write_text("a caption")
    return folder


@pytest.fixture(scope="module")
def encoder():
    return TinyEncoder()


@pytest.fixture(scope="module")
def prepared(videos, encoder, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared") / "set"
    result = prepare_tiny(videos, output, encoder=encoder)
    return output, result


def read_samples(output):
    names = [shard["name"] for shard in json.loads((output / "dataset.json").read_text())["shards"]]
    paths = [str(output / name) for name in names]
    return list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False))


def test_change_of_a_stored_number_is_found(prepared, tmp_path, caplog):
    output = shutil.copytree(prepared[0], tmp_path / "set")
    shard = min(output.glob("*.tar"))
    content = bytearray(shard.read_bytes())
    content[content.index(b"NUMPY") + 200] ^= 1  # of a latent, which stays a good number
    shard.write_bytes(content)
    clips = PreparedClips(output, seed=0, with_references=False)
    clips.load(range(clips.num_clips))
    assert re.search(r"clip \d+ cannot be read \(latents.npy is not what was", caplog.text)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_settings_are_kept_where_there_are_no_locks(tmp_path, monkeypatch, caplog, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    check_settings(tmp_path, {"--frames": 16})
    assert "no locks here" in caplog.text
    with pytest.raises(ValueError, match="--frames is 8"):
        check_settings(tmp_path, {"--frames": 8})


def test_webdataset_reads_every_good_clip_with_all_its_members(prepared):
    output, result = prepared
    samples = read_samples(output)
    assert (result.num_videos, result.num_rejected, result.num_clips) == (17, 6, 11)
    assert len(samples) == 11
    assert len({sample["__key__"] for sample in samples}) == 11
    for number, sample in enumerate(samples):
        facts = json.loads(sample["json"])
        assert facts["source"] == f"{number:02d}.mp4"
        assert sample["txt"].decode() == f"a texture number {number} drifts"
        assert np.load(BytesIO(sample["latents.npy"])).shape == (16, 4, 8, 8)
        assert np.load(BytesIO(sample["text.npy"])).shape == (77, TEXT_WIDTH)
        assert Image.open(BytesIO(sample["reference.png"])).size == (64, 64)


def test_training_loop_reads_the_same_clips(prepared):
    output, _ = prepared
    clips = PreparedClips(output, seed=0, with_references=True)
    batch = clips.load(range(clips.num_clips))
    samples = {sample["txt"].decode(): sample for sample in read_samples(output)}
    assert set(batch.captions) == set(samples)
    for caption, latents in zip(batch.captions, batch.latents, strict=True):
        stored = np.load(BytesIO(samples[caption]["latents.npy"]))
        np.testing.assert_array_equal(latents.numpy(), stored.astype(np.float32))


def test_members_are_what_each_part_gives_by_itself(prepared, videos, encoder):
    for sample in read_samples(prepared[0])[::4]:
        facts = json.loads(sample["json"])
        clip = read_clip(videos / facts["source"], facts["source"], CONFIG)
        images = torch.from_numpy(clip.frames) / 255
        assert (facts["stride"], facts["start_frame"]) == (clip.stride, clip.start_frame)
        assert facts["ssim"] == pytest.approx(mean_ssim(images), abs=1e-6)
        reference = np.asarray(Image.open(BytesIO(sample["reference.png"])))
        np.testing.assert_array_equal(reference, clip.frames[0])
        latents = np.load(BytesIO(sample["latents.npy"]))
        text = np.load(BytesIO(sample["text.npy"]))
        assert latents.dtype == text.dtype == np.float16
        # Half precision keeps eleven bits.
        expected = encoder.encode_images(images).numpy()
        np.testing.assert_allclose(latents, expected, rtol=2**-10, atol=1e-5)
        expected = encoder.encode_text(sample["txt"].decode()).numpy()
        np.testing.assert_allclose(text, expected, rtol=2**-10, atol=1e-5)


def test_faster_videos_have_lower_ssim(prepared):
    ssim = [json.loads(sample["json"])["ssim"] for sample in read_samples(prepared[0])]
    for texture in range(3):
        assert ssim[texture::3] == sorted(ssim[texture::3], reverse=True)
    assert ssim[0] > 0.99 > 0.8 > ssim[-1]


def test_description_has_all_facts_and_the_edges_of_all_clips(prepared):
    output, _ = prepared
    description = json.loads((output / "dataset.json").read_text())
    ssim = [json.loads(sample["json"])["ssim"] for sample in read_samples(output)]
    edges = description.pop("ssim_edges")
    np.testing.assert_allclose(edges, level_edges(ssim), rtol=0, atol=RESOLUTION)
    assert description == {
        "format_version": 1,
        "num_clips": 11,
        "num_shards": 4,
        "num_frames": 16,
        "size_px": [64, 64],
        "latent_channels": 4,
        "context_dim": TEXT_WIDTH,
        "base_checkpoint": {"name": "tiny", "sha256": "0" * 64},
        "shards": [
            {"name": f"clips-{number:06d}.tar", "num_clips": clips}
            for number, clips in enumerate([3, 3, 3, 2])
        ],
    }


def test_empty_prompt_is_stored(prepared, encoder):
    stored = np.load(prepared[0] / "empty_text.npy")
    assert stored.dtype == np.float16
    np.testing.assert_allclose(stored, encoder.encode_text("").numpy(), rtol=2**-10, atol=1e-5)


def test_bad_videos_are_listed_with_the_reason_in_the_order_of_the_source(prepared):
    lines = (prepared[0] / "rejected.jsonl").read_text().splitlines()
    assert [tuple(json.loads(line).values()) for line in lines] == [
        ("00_short.mp4", "has 3 frames, 16 are needed"),
        ("03_sound.mp4", "has no video stream"),
        ("05_empty.mp4", "the file is empty"),
        ("05_noise.mp4", "cannot be decoded: Invalid data found when processing input"),
        ("07_silent.mp4", "the caption is empty"),
        ("99_alone.mp4", "the caption 99_alone.txt: No such file or directory"),
    ]


def data_files(output):
    return {
        path.name: path.read_bytes()
        for path in output.iterdir()
        if path.is_file() and not path.name.startswith(".")
    }


def start(source, output):
    command = [sys.executable, "-m", "tests.training.preparation.prepare_tiny", source, output]
    return subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def wait_for(condition, *, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)


def is_gone(process_group):
    try:
        os.killpg(process_group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_killed_run_continues_to_the_same_bytes_and_leaves_no_process(videos, prepared, tmp_path):
    output = tmp_path / "set"
    for shard in ("clips-000000.tar", "clips-000002.tar"):
        process = start(videos, output)
        # The shard after it is being written then, or its videos are being decoded.
        wait_for((output / shard).is_file, seconds=120, what=f"writing {shard}")
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(partial(is_gone, process.pid), seconds=20, what="the end of the workers")
        assert not (output / "dataset.json").exists()
    modified = (output / "clips-000000.tar").stat().st_mtime_ns
    # What a kill between two writes leaves: a list that is ahead of the shards, and half a shard.
    with (output / "rejected.jsonl").open("a") as file:
        file.write('{"source": "ahead')
    last = max(output.glob("clips-*.tar"))
    last.write_bytes(last.read_bytes()[:5000])
    prepare_tiny(videos, output)
    assert data_files(output) == data_files(prepared[0])
    assert (output / "clips-000000.tar").stat().st_mtime_ns == modified
    assert not list(output.rglob(".*.partial"))


def test_complete_data_set_is_left_as_it_is(videos, prepared, encoder):
    output, result = prepared
    before = data_files(output)
    assert prepare_tiny(videos, output, encoder=encoder) == result
    assert data_files(output) == before


def test_shards_lost_from_a_complete_data_set_are_made_anew_and_no_others(
    videos, prepared, encoder, tmp_path, caplog
):
    output = tmp_path / "set"
    shutil.copytree(prepared[0], output)
    (output / "clips-000001.tar").unlink()
    cut = output / "clips-000003.tar"
    cut.write_bytes(cut.read_bytes()[:5000])
    kept = [output / "clips-000000.tar", output / "clips-000002.tar"]
    modified = [path.stat().st_mtime_ns for path in kept]
    assert prepare_tiny(videos, output, encoder=encoder) == prepared[1]
    assert data_files(output) == data_files(prepared[0])
    assert [path.stat().st_mtime_ns for path in kept] == modified
    assert "2 shards are missing or cut short" in caplog.text


@pytest.mark.parametrize(
    ("before", "after"), [("04.mp4", "nowhere.mp4"), ("nowhere.mp4", "04.mp4")]
)
def test_lost_shard_of_a_changed_source_leaves_all_else_as_it_was(
    videos, encoder, tmp_path, before, after
):
    manifest = tmp_path / "clips.jsonl"
    entries = [{"video": str(videos / f"{i:02d}.mp4"), "caption": "x"} for i in range(10)]
    entries[4]["video"] = str(videos / before)
    manifest.write_text("\n".join(map(json.dumps, entries)))
    output = tmp_path / "set"
    prepare_tiny(manifest, output, encoder=encoder)
    lost = output / "clips-000001.tar"
    lost.unlink()
    files = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert sum(path.suffix == ".tar" for path in files) >= 2
    entries[4]["video"] = str(videos / after)
    manifest.write_text("\n".join(map(json.dumps, entries)))
    for _ in range(2):
        with pytest.raises(ValueError, match="no longer give the clips of clips-000001.tar"):
            prepare_tiny(manifest, output, encoder=encoder)
    kept = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert {path: content for path, content in kept.items() if path != lost} == files


def test_data_set_is_not_described_while_another_part_lacks_a_shard(videos, encoder, tmp_path):
    output = tmp_path / "set"
    for part in ((1, 2), (2, 2)):
        prepare_tiny(videos, output, part=part, encoder=encoder)
    description = (output / "dataset.json").read_bytes()
    shard = output / "clips-1of2-000000.tar"
    content = shard.read_bytes()
    shard.unlink()
    with pytest.raises(ValueError, match="clips-1of2-000000.tar is missing .* --shard-of"):
        prepare_tiny(videos, output, part=(2, 2), encoder=encoder)
    assert (output / "dataset.json").read_bytes() == description
    prepare_tiny(videos, output, part=(1, 2), encoder=encoder)
    assert shard.read_bytes() == content
    record = output / "progress" / "clips-1of2-000000.tar.json"
    record.unlink()
    with pytest.raises(ValueError, match="clips-1of2-000000.tar.json is missing"):
        prepare_tiny(videos, output, part=(2, 2), encoder=encoder)
    assert (output / "dataset.json").read_bytes() == description


def test_parts_of_several_machines_make_one_data_set(videos, prepared, encoder, tmp_path):
    first = prepare_tiny(videos, tmp_path / "set", part=(1, 2), encoder=encoder)
    assert first.num_clips is None
    assert not (tmp_path / "set" / "dataset.json").exists()
    second = prepare_tiny(videos, tmp_path / "set", part=(2, 2), encoder=encoder)
    assert second.num_clips == 11
    assert first.num_videos + second.num_videos == 17
    single, parts = read_samples(prepared[0]), read_samples(tmp_path / "set")
    by_key = {sample["__key__"]: sample["json"] for sample in parts}
    assert by_key == {sample["__key__"]: sample["json"] for sample in single}
    edges = [
        json.loads((output / "dataset.json").read_text())["ssim_edges"]
        for output in (prepared[0], tmp_path / "set")
    ]
    assert edges[0] == edges[1]
    rejected = [path.read_text() for path in (tmp_path / "set").glob("rejected*")]
    expected = (prepared[0] / "rejected.jsonl").read_text()
    assert Counter("".join(rejected).splitlines()) == Counter(expected.splitlines())


def test_continuing_with_other_options_names_the_option(videos, prepared, encoder):
    for option, arguments in {
        "--seed is 1": {"clips": ClipConfig(size_px=(64, 64), seed=1)},
        "--size is": {"clips": ClipConfig(size_px=(64, 72))},
        "--clips-per-shard is 4": {"clips_per_shard": 4},
        "--shard-of": {"part": (1, 2)},
    }.items():
        with pytest.raises(ValueError, match=f"{option}.* was begun with"):
            prepare_tiny(videos, prepared[0], encoder=encoder, **arguments)


def test_continuing_with_a_changed_source_is_refused(videos, encoder, tmp_path):
    manifest = tmp_path / "clips.jsonl"
    entries = [{"video": str(videos / f"{i:02d}.mp4"), "caption": "x"} for i in range(4)]
    manifest.write_text("\n".join(map(json.dumps, entries)))
    prepare_tiny(manifest, tmp_path / "set", encoder=encoder)
    (tmp_path / "set" / "progress" / "complete.json").unlink()
    (tmp_path / "set" / "clips-000001.tar").unlink()
    manifest.write_text("\n".join(map(json.dumps, entries[1:])))
    with pytest.raises(ValueError, match="--source: .* is no longer entry 3"):
        prepare_tiny(manifest, tmp_path / "set", encoder=encoder)


def test_fewer_clips_than_levels_get_the_default_edges(videos, encoder, tmp_path, caplog):
    manifest = tmp_path / "clips.jsonl"
    manifest.write_text(json.dumps({"video": str(videos / "01.mp4"), "caption": "x"}))
    assert prepare_tiny(manifest, tmp_path / "set", encoder=encoder).num_clips == 1
    description = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert tuple(description["ssim_edges"]) == DEFAULT_EDGES
    assert "too few" in caplog.text


def test_source_without_any_usable_video_ends_with_a_sentence(encoder, tmp_path):
    manifest = tmp_path / "clips.jsonl"
    manifest.write_text(json.dumps({"video": "nowhere.mp4", "caption": "x"}))
    with pytest.raises(ValueError, match="--source: not one video .* rejected.jsonl"):
        prepare_tiny(manifest, tmp_path / "set", encoder=encoder)
    [line] = (tmp_path / "set" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line) == {"source": "nowhere.mp4", "reason": "the file is missing"}


def test_storage_that_goes_away_ends_the_run_and_loses_no_video(videos, encoder, tmp_path):
    """Entries of a list whose files are gone for a while, between others that are there."""
    manifest, away = tmp_path / "clips.jsonl", [tmp_path / f"away{n}.mp4" for n in range(4)]
    good = [videos / f"{number:02d}.mp4" for number in range(6)]
    names = [*good[:3], tmp_path / "never.mp4", *good[3:], *away]
    lines = [json.dumps({"video": str(name), "caption": "a texture"}) for name in names]
    manifest.write_text("\n".join(lines))
    output = tmp_path / "set"
    with pytest.raises(ValueError, match=r"more than 3 .*away3.mp4: the file is missing.*--videos"):
        prepare_tiny(manifest, output, encoder=encoder, max_unreachable=3)
    assert not (output / "dataset.json").exists()
    for path in away:
        shutil.copy(videos / "09.mp4", path)
    result = prepare_tiny(manifest, output, encoder=encoder, max_unreachable=3)
    assert (result.num_clips, result.num_rejected) == (10, 1)
    [rejected] = (output / "rejected.jsonl").read_text().splitlines()
    assert "never.mp4" in rejected


@pytest.mark.parametrize("limit", [0, 4])
def test_as_many_missing_videos_as_are_allowed_are_left_out(videos, encoder, tmp_path, limit):
    manifest, missing = tmp_path / "clips.jsonl", [tmp_path / f"{n}.mp4" for n in range(4)]
    names = [*missing, videos / "01.mp4"]
    lines = [json.dumps({"video": str(name), "caption": "a texture"}) for name in names]
    manifest.write_text("\n".join(lines))
    result = prepare_tiny(manifest, tmp_path / "set", encoder=encoder, max_unreachable=limit)
    assert (result.num_clips, result.num_rejected) == (1, 4)


def test_clip_that_encodes_to_nan_is_listed(videos, tmp_path):
    class BrokenEncoder(TinyEncoder):
        def encode_text(self, caption):
            text = super().encode_text(caption)
            return text * float("nan") if caption == "bad" else text

    manifest = tmp_path / "clips.jsonl"
    entries = [{"video": str(videos / "01.mp4"), "caption": text} for text in ("good", "bad")]
    manifest.write_text("\n".join(map(json.dumps, entries)))
    result = prepare_tiny(manifest, tmp_path / "set", encoder=BrokenEncoder())
    assert (result.num_clips, result.num_rejected) == (1, 1)
    assert "NaN" in (tmp_path / "set" / "rejected.jsonl").read_text()


def test_caption_of_too_many_tokens_is_listed(videos, tmp_path):
    class LongWinded(TinyEncoder):
        def encode_text(self, caption):
            return super().encode_text(caption).new_zeros(77 * len(caption), TEXT_WIDTH)

    manifest = tmp_path / "clips.jsonl"
    entries = [{"video": str(videos / "01.mp4"), "caption": text} for text in ("3 c", "four")]
    manifest.write_text("\n".join(map(json.dumps, entries)))
    result = prepare_tiny(manifest, tmp_path / "set", encoder=LongWinded())
    assert (result.num_clips, result.num_rejected) == (1, 1)
    [line] = (tmp_path / "set" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "the caption takes 308 tokens, at most 231 fit"


def test_name_that_no_file_can_have_is_a_rejection(tmp_path):
    source = VideoSource(0, "x" * 300, tmp_path, "a caption")
    rejection = make_example(source, CONFIG)
    assert isinstance(rejection, Rejection) and "File name too long" in rejection.reason


def test_of_runs_that_begin_at_once_those_with_the_first_ones_options_go_on(tmp_path):
    def begin(seed: int) -> int | None:
        try:
            check_settings(tmp_path / "set", {"--seed": seed})
        except ValueError:
            return None
        return seed

    with ThreadPoolExecutor(8) as pool:
        accepted = set(pool.map(begin, [1, 2] * 8)) - {None}
    assert len(accepted) == 1


def test_second_run_on_the_same_folder_is_refused_while_the_first_works(videos, encoder, tmp_path):
    output = tmp_path / "set"
    process = start(videos, output)
    try:
        wait_for((output / "progress" / "lock").exists, seconds=120, what="the start")
        wait_for((output / "empty_text.npy").exists, seconds=120, what="the start")
        with pytest.raises(ValueError, match="--output: another run"):
            prepare_tiny(videos, output, encoder=encoder)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--clips-per-shard", {"clips_per_shard": 0}),
        ("--clips-per-batch", {"clips_per_batch": 0}),
        ("--workers", {"num_workers": 0}),
        ("--output", {"output": Path(__file__)}),
    ],
)
def test_bad_configuration_names_the_option(option, arguments, tmp_path):
    arguments = {"output": tmp_path / "set"} | arguments
    with pytest.raises(ValueError, match=option):
        PreparationConfig(sources=SourceConfig(tmp_path), **arguments)
