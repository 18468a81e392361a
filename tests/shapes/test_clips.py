"""Clips of the world as the training loop reads them."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from livephoto_core.comfyui.demo_modules import load_autoencoder
from livephoto_core.comfyui.demo_text import CaptionEncoder
from livephoto_core.motion_intensity import mean_ssim
from livephoto_core.shapes.base_model import AutoencoderConfig, open_base_model
from livephoto_core.shapes.captions import MOTION_WORDS, words
from livephoto_core.shapes.clips import FACTS_FILE, ShapesClips, encode_clips
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import MOTIONS
from livephoto_core.shapes.split import is_held_out, sample_training_scene
from tests.shapes.base_models import TINY_BASE, write_random_base

SEED, COUNT = 3, 32


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return open_base_model(write_random_base(tmp_path_factory.mktemp("base") / "a.safetensors"))


@pytest.fixture(scope="module")
def text_encoder(base):
    return CaptionEncoder(TINY_BASE, base.part("text_encoder"))


@pytest.fixture(scope="module")
def folder(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    autoencoder = load_autoencoder(base)
    encode_clips(autoencoder, TINY_BASE, folder, num_clips=COUNT, seed=SEED, num_workers=0)
    return folder


@pytest.fixture
def clips(folder, base, text_encoder):
    return ShapesClips(folder, base, text_encoder, seed=0)


def in_8_bits(picture):
    return (picture * 255).round() / 255


def test_clips_are_rendered_encoded_and_measured(clips, base):
    autoencoder = load_autoencoder(base)
    loaded = clips.load(range(COUNT))
    by_ssim = dict(
        zip(loaded.ssim, zip(loaded.latents, loaded.references, strict=True), strict=True)
    )
    for index in (0, 5, COUNT - 1):
        images = render_clip(sample_training_scene(SEED, index), size_px=TINY_BASE.size_px)
        nearest = min(by_ssim, key=lambda ssim: abs(ssim - mean_ssim(images)))
        assert nearest == pytest.approx(mean_ssim(images), abs=1e-6)
        latents, reference = by_ssim[nearest]
        expected = autoencoder.encode(images.movedim(-1, 1) * 2 - 1) * 0.18215
        torch.testing.assert_close(latents, expected, atol=2e-3, rtol=2e-3)
        assert torch.equal(reference, in_8_bits(images[0]))


def test_epoch_holds_every_clip_once_and_the_next_comes_in_another_order(clips):
    first, second = (clips.load(range(n * COUNT, (n + 1) * COUNT)).ssim for n in (0, 1))
    assert sorted(first) == sorted(second)
    assert first != second


def test_number_alone_decides_what_is_loaded(clips):
    together, alone = clips.load([4, 9]), clips.load([9])
    assert together.captions[1] == alone.captions[0]
    torch.testing.assert_close(together.text[1], alone.text[0], atol=1e-5, rtol=1e-5)
    assert torch.equal(together.latents[1], alone.latents[0])


def test_favoured_motions_come_more_often(base, text_encoder, tmp_path):
    autoencoder = load_autoencoder(base)
    favoured = ["grow"] * len(MOTIONS)
    encode_clips(
        autoencoder,
        TINY_BASE,
        tmp_path,
        num_clips=COUNT,
        seed=SEED,
        favoured=favoured,
        num_workers=0,
    )
    clips = ShapesClips(tmp_path, base, text_encoder, seed=0)
    loaded = clips.load(range(COUNT))
    scenes = [
        sample_training_scene(SEED, index, motions=(*MOTIONS, *favoured)) for index in range(COUNT)
    ]
    # Half of all and more, where one in sixteen is usual; and read as they were written.
    assert sum(scene.motion == "grow" for scene in scenes) > COUNT / 3
    told = [render_clip(scene, size_px=TINY_BASE.size_px) for scene in scenes]
    measured = [(mean_ssim(clip), in_8_bits(clip[0])) for clip in told]
    for ssim, picture in zip(loaded.ssim, loaded.references, strict=True):
        of_picture = [other for other, first in measured if torch.equal(first, picture)]
        assert of_picture == [pytest.approx(ssim, abs=1e-6)]
    with pytest.raises(ValueError, match="made with another favoured"):
        encode_clips(autoencoder, TINY_BASE, tmp_path, num_clips=COUNT, seed=SEED, num_workers=0)


def test_levels_mean_the_same_whatever_is_favoured(base, tmp_path):
    """Every second clip is still: counted as they come, levels 1 to 5 would all be stillness."""
    count, favoured = 3 * COUNT, ["still"] * (len(MOTIONS) - 2)
    encode_clips(
        load_autoencoder(base),
        TINY_BASE,
        tmp_path,
        num_clips=count,
        seed=SEED,
        favoured=favoured,
        num_workers=0,
    )
    motions = (*MOTIONS, *favoured)
    scenes = [sample_training_scene(SEED, index, motions=motions) for index in range(count)]
    ssim = np.load(tmp_path / "ssim.npy")
    is_still = np.array([scene.motion == "still" for scene in scenes])
    assert 0.4 < is_still.mean() < 0.6
    weights = np.where(is_still, 1 / (len(favoured) + 1), 1.0)
    edges = json.loads((tmp_path / FACTS_FILE).read_text())["ssim_edges"]
    for level, edge in enumerate(edges, start=1):
        above = weights[ssim >= edge].sum() / weights.sum()
        assert above == pytest.approx(level / 10, abs=0.03)


def test_unknown_favoured_motion_is_refused_before_anything_is_written(base, tmp_path):
    with pytest.raises(ValueError, match="favoured must be one of .*, got 'jump'"):
        encode_clips(
            load_autoencoder(base), TINY_BASE, tmp_path, num_clips=16, seed=1, favoured=["jump"]
        )
    assert not list(tmp_path.iterdir())


def test_clips_kept_without_their_first_frames_are_refused(folder, base, text_encoder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    facts = json.loads((tmp_path / FACTS_FILE).read_text())
    del facts["arrays"]
    (tmp_path / FACTS_FILE).write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="Make them anew"):
        ShapesClips(tmp_path, base, text_encoder, seed=0)


@pytest.mark.parametrize("stale", ["another world", None])
def test_clips_of_another_version_of_the_world_are_refused(
    stale, folder, base, text_encoder, tmp_path
):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    facts = json.loads((tmp_path / FACTS_FILE).read_text())
    facts.pop("world")
    (tmp_path / FACTS_FILE).write_text(
        json.dumps(facts if stale is None else {**facts, "world": stale})
    )
    with pytest.raises(ValueError, match="made by another version of the pack"):
        ShapesClips(tmp_path, base, text_encoder, seed=0)


def test_captions_are_worded_anew_and_are_of_three_kinds(clips):
    captions = clips.load(range(40 * COUNT)).captions
    motion = [bool(MOTION_WORDS & set(words(caption)) - {"in"}) for caption in captions]
    # A tenth tells the content alone; "in" also joins content.
    assert 0.05 < 1 - sum(motion) / len(motion) < 0.16
    assert len(set(captions)) > 10 * COUNT


def test_no_clip_is_of_a_held_out_combination():
    assert not any(is_held_out(sample_training_scene(SEED, index)) for index in range(200))


def test_facts_have_the_deciles_and_the_empty_text(clips, text_encoder):
    edges = torch.tensor(clips.facts.ssim_edges)
    ssim = torch.tensor(clips.load(range(COUNT)).ssim)
    assert (ssim[:, None] < edges).sum(dim=1).bincount(minlength=10).max() <= 5
    assert torch.equal(clips.facts.empty_text, text_encoder([""])[0])
    assert clips.facts.size_px == (32, 32) and clips.facts.num_frames == 16


def test_folder_without_clips_is_refused(tmp_path, base, text_encoder):
    with pytest.raises(ValueError, match=r"has no shapes_clips.json.*shapes clips"):
        ShapesClips(tmp_path, base, text_encoder, seed=0)


def test_clips_of_another_autoencoder_are_refused(folder, tmp_path, text_encoder):
    path = tmp_path / "other.safetensors"
    wider = dataclasses.replace(
        TINY_BASE, autoencoder=AutoencoderConfig(channels=64, channel_multipliers=(1, 1, 1, 1))
    )
    other = open_base_model(write_random_base(path, wider))
    with pytest.raises(ValueError, match=r"files.data: the clips of .* another autoencoder"):
        ShapesClips(folder, other, text_encoder, seed=0)
