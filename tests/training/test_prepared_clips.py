"""Reading prepared data sets: order, content, and every way a folder can be wrong."""

from __future__ import annotations

import json
import logging
import tarfile
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
import webdataset

from livephoto_core.training import shard_file
from livephoto_core.training.prepared_clips import MIXED_SHARDS, PreparedClips, ShuffledOrder
from tests.training.data_sets import write_data_set
from tests.training.tiny_training import CONTEXT_DIM, EDGES, FRAMES, SIZE

SIZES = (3, 5, 1, 4) * 5


@pytest.mark.parametrize("sizes", [(7,), SIZES, (2,) * MIXED_SHARDS])
def test_every_epoch_holds_every_clip_once(sizes):
    order, total = ShuffledOrder(sizes, seed=3), sum(sizes)
    everything = {(shard, place) for shard, size in enumerate(sizes) for place in range(size)}
    epochs = [[order.locate(e * total + i) for i in range(total)] for e in range(3)]
    for epoch in epochs:
        assert set(epoch) == everything
        assert len(epoch) == total
    if total > 10:
        assert epochs[0] != epochs[1] != epochs[2]


def test_order_does_not_depend_on_what_was_read_before():
    total = sum(SIZES)
    in_turn = [ShuffledOrder(SIZES, seed=3).locate(number) for number in range(3 * total)]
    order = ShuffledOrder(SIZES, seed=3)
    jumping = np.random.default_rng(0).permutation(3 * total)
    assert [order.locate(int(n)) for n in jumping] == [in_turn[n] for n in jumping]


def test_order_changes_with_the_seed_and_mixes_shards():
    first, second = (ShuffledOrder(SIZES, seed=seed) for seed in (0, 1))
    numbers = range(sum(SIZES))
    assert [first.locate(n) for n in numbers] != [second.locate(n) for n in numbers]
    shards_in_a_row = [first.locate(n)[0] for n in range(12)]
    assert len(set(shards_in_a_row)) > 3


def read_all(source: PreparedClips) -> list[tuple[str, float, float, float]]:
    clips = [source.load([number]) for number in range(source.num_clips)]
    return sorted(
        (c.captions[0], c.ssim[0], c.latents.mean().item(), c.text.mean().item()) for c in clips
    )


def test_content_is_what_webdataset_reads(tmp_path):
    folder = write_data_set(tmp_path / "data", (3, 4))
    theirs = webdataset.WebDataset(
        [str(path) for path in sorted(folder.glob("*.tar"))], shardshuffle=False
    ).decode()
    expected = sorted(
        (
            sample["txt"],
            sample["json"]["ssim"],
            float(sample["latents.npy"].astype(np.float32).mean()),
            float(sample["text.npy"].astype(np.float32).mean()),
        )
        for sample in theirs
    )
    assert read_all(PreparedClips(folder, seed=0, with_references=False)) == expected


def test_batch_has_the_shapes_and_facts_of_the_data_set(tmp_path):
    folder = write_data_set(tmp_path / "data", (3, 4), chunks=(1, 2))
    source = PreparedClips(folder, seed=0, with_references=True)
    numbers = range(5)
    clips = source.load(numbers)
    assert clips.latents.shape == (5, FRAMES, 4, SIZE, SIZE)
    assert clips.latents.dtype == torch.float32
    assert clips.text.shape == (5, 154, CONTEXT_DIM)
    assert clips.references is not None and clips.references.shape == (5, SIZE * 8, SIZE * 8, 3)
    for index, caption in enumerate(clips.captions):
        number = int(caption.removeprefix("clip "))
        assert (clips.latents[index] == number).all()
        assert (clips.text[index] == number).all()
        assert clips.ssim[index] == number / 7
        torch.testing.assert_close(
            clips.references[index, 0, 0], torch.tensor([number / 255, 0.0, 1.0])
        )
    assert source.facts.ssim_edges == EDGES
    assert source.facts.size_px == (64, 64)
    assert (source.facts.empty_text == 0.5).all()


def test_batches_cover_an_epoch_however_they_are_cut(tmp_path):
    folder = write_data_set(tmp_path / "data", (3, 4, 5))
    source = PreparedClips(folder, seed=0, with_references=False)
    whole = source.load(range(24)).captions
    in_parts = [source.load(range(i, i + 3)).captions for i in range(0, 24, 3)]
    assert sum(in_parts, ()) == whole
    assert set(Counter(whole).values()) == {2}


def change_description(folder, **changes):
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "dataset.json").unlink(), "preparation has not finished"),
        (lambda f: (f / "dataset.json").write_text("{"), "is damaged"),
        (lambda f: change_description(f, format_version=2), "has format 2"),
        (lambda f: change_description(f, ssim_edges=[0.5]), "not a complete data set"),
        (lambda f: change_description(f, shards=[]), "has no clips"),
        (lambda f: (f / "empty_text.npy").unlink(), "not a complete data set"),
        (lambda f: (f / "clips-000001.tar").unlink(), "lacks 1 shards, such as clips-000001.tar"),
    ],
)
def test_incomplete_data_set_is_refused_by_option_and_file(tmp_path, damage, message):
    folder = write_data_set(tmp_path / "data", (3, 4))
    damage(folder)
    with pytest.raises(ValueError, match=f"files.data: .*{message}"):
        PreparedClips(folder, seed=0, with_references=False)


def cut_shard(folder):
    path = folder / "clips-000000.tar"
    path.write_bytes(path.read_bytes()[:3000])


def spoil_latents(folder):
    path = folder / "clips-000000.tar"
    path.write_bytes(path.read_bytes().replace(b"\x93NUMPY", b"\x93BROKE"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_shard, r"clips-000000.tar"),
        (spoil_latents, r"clips-000000.tar: clip 00000000\d cannot be read"),
        (lambda f: change_description(f, num_frames=9), r"clip \d+ cannot be read \(latents of"),
        (lambda f: change_description(f, context_dim=9), r"clip \d+ cannot be read \(text of"),
        (
            lambda f: change_description(f, shards=[{"name": "clips-000000.tar", "num_clips": 2}]),
            "holds 3 clips, dataset.json says 2",
        ),
    ],
)
def test_data_set_without_a_good_clip_is_refused_by_shard(tmp_path, damage, message):
    folder = write_data_set(tmp_path / "data", (3,))
    damage(folder)
    source = PreparedClips(folder, seed=0, with_references=False)
    with pytest.raises(ValueError, match=message):
        source.load([0, 1, 2])


def members(folder, shard=0):
    """Where each member lies in a shard: offset and size by name."""
    with tarfile.open(folder / f"clips-{shard:06d}.tar") as tar:
        return {member.name: (member.offset_data, member.size) for member in tar}


def overwrite(folder, name, *, start=0, content=b"\xff\xff"):
    """Writes over a part of a member of the first shard."""
    offset, size = members(folder)[name]
    with (folder / "clips-000000.tar").open("r+b") as file:
        file.seek(offset + start % size)
        file.write(content)


def cut_before(folder, name):
    path = folder / "clips-000000.tar"
    path.write_bytes(path.read_bytes()[: members(folder)[name][0] - 512])


def spoil_header(folder, name):
    """Of the tar file, so that nothing behind it is found."""
    with (folder / "clips-000000.tar").open("r+b") as file:
        file.seek(members(folder)[name][0] - 512)
        file.write(b"?" * 512)


DAMAGE = {
    "latents that are no array": (partial(overwrite, name="000000002.latents.npy"), {2}),
    "a number that is none": (partial(overwrite, name="000000002.latents.npy", start=-2), {2}),
    "a header that Python cannot read": (
        partial(overwrite, name="000000002.text.npy", start=10, content=b'{"((' + b" " * 60),
        {2},
    ),
    "facts that are no JSON": (partial(overwrite, name="000000002.json"), {2}),
    "an impossible SSIM": (
        partial(overwrite, name="000000002.json", content=b'{"ssim": 7, "a":'),
        {2},
    ),
    "a picture with a hole": (
        partial(overwrite, name="000000002.reference.png", start=40, content=bytes(60)),
        {2},
    ),
    "a shard that is cut off": (partial(cut_before, name="000000002.latents.npy"), {2, 3, 4}),
    "a shard with a spoiled header": (partial(spoil_header, name="000000003.latents.npy"), {3, 4}),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_another_clip_takes_the_place_of_a_damaged_one(tmp_path, caplog, kind):
    folder = write_data_set(tmp_path / "data", (5, 4, 4))
    damage, lost = DAMAGE[kind]
    numbers = range(39)
    before = PreparedClips(folder, seed=0, with_references=True).load(numbers).captions
    damage(folder)
    clips = PreparedClips(folder, seed=0, with_references=True).load(numbers)
    for old, new in zip(before, clips.captions, strict=True):
        is_lost = int(old.removeprefix("clip ")) in lost
        assert (new != old) == is_lost
        assert int(new.removeprefix("clip ")) not in lost
    for index, caption in enumerate(clips.captions):
        assert (clips.latents[index] == int(caption.removeprefix("clip "))).all()
    in_parts = PreparedClips(folder, seed=0, with_references=True)
    assert sum((in_parts.load([n]).captions for n in reversed(numbers)), ())[::-1] == clips.captions
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert errors and all("clips-000000.tar" in message for message in errors)


def test_damage_is_said_once(tmp_path, caplog):
    folder = write_data_set(tmp_path / "data", (5, 4, 4))
    overwrite(folder, "000000002.latents.npy")
    source = PreparedClips(folder, seed=0, with_references=False)
    source.load(range(5 * source.num_clips))
    [error] = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert "clips-000000.tar: clip 000000002 cannot be read" in error
    assert "another clip takes its place" in error


def test_too_much_damage_ends_the_reading(tmp_path):
    folder = write_data_set(tmp_path / "data", (40,))
    for number in range(11):
        overwrite(folder, f"{number:09d}.latents.npy")
    source = PreparedClips(folder, seed=0, with_references=False)
    with pytest.raises(ValueError, match=r"files.data: 11 clips of .* are damaged, too many"):
        source.load(range(40))


def test_shard_that_is_cut_off_counts_with_all_its_clips(tmp_path, caplog):
    folder = write_data_set(tmp_path / "data", (20, 20))
    cut_before(folder, "000000005.latents.npy")
    source = PreparedClips(folder, seed=0, with_references=False)
    with pytest.raises(ValueError, match=r"files.data: 11 clips of .* are damaged, too many"):
        source.load(range(40))
    # One for the clip that was cut, one for all that came behind it.
    assert sum("another clip takes its place" in message for message in caplog.messages) == 2


def failing_storage(monkeypatch, times):
    """Storage that answers only after so many failures; how often it was asked."""
    asked = []
    read = shard_file._read

    def fail_first(*arguments):
        asked.append(arguments)
        if len(asked) <= times:
            raise OSError(116, "Stale file handle")
        return read(*arguments)

    monkeypatch.setattr(shard_file, "_read", fail_first)
    monkeypatch.setattr(shard_file, "_WAITS_S", (0, 0, 0))
    return asked


def test_storage_that_fails_for_a_while_is_asked_again(tmp_path, monkeypatch):
    folder = write_data_set(tmp_path / "data", (5,))
    source = PreparedClips(folder, seed=0, with_references=False)
    wanted = source.load([0]).captions
    asked = failing_storage(monkeypatch, times=3)
    assert source.load([0]).captions == wanted
    assert len(asked) == 4


def test_storage_that_fails_is_not_taken_for_damage(tmp_path, monkeypatch, caplog):
    folder = write_data_set(tmp_path / "data", (5,))
    source = PreparedClips(folder, seed=0, with_references=False)
    failing_storage(monkeypatch, times=4)
    with pytest.raises(OSError, match=r"the storage of .* cannot be read .*--resume"):
        source.load([0])
    assert "Delete" not in caplog.text
