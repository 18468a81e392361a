"""Pictures and captions that the base model learns from."""

from __future__ import annotations

import math

import pytest
import torch

from livephoto_core.shapes.base_training.pictures import (
    PictureMix,
    contrasting_captions,
    picture_caption,
    render_picture,
    sample_picture,
)
from livephoto_core.shapes.captions import CONTENT_WORDS, MOTION_WORDS, words
from livephoto_core.shapes.motion_paths import poses_at
from livephoto_core.shapes.rendering import render_moments
from livephoto_core.shapes.split import is_held_out

_CHANGED = PictureMix(crisp_content=0, crisp_changed=1, crisp_full=0, cue_full=0, cue_motion=0)


def test_pictures_depend_on_seed_and_number_alone():
    again = sample_picture(3, 5)
    assert again == sample_picture(3, 5)
    assert again != sample_picture(3, 6) and again != sample_picture(4, 5)


def test_kinds_of_pictures_come_in_their_shares():
    kinds = [sample_picture(0, index).kind for index in range(1000)]
    for kind, share in vars(PictureMix()).items():
        assert abs(kinds.count(kind) / 1000 - share) < 4 * math.sqrt(share * (1 - share) / 1000)


def test_training_never_shows_what_is_held_out():
    assert not any(is_held_out(sample_picture(0, index).scene) for index in range(300))
    assert all(is_held_out(sample_picture(0, i, held_out=True).scene) for i in range(100))


def test_changed_shapes_are_seen_at_all_angles_and_sizes():
    pictures = [sample_picture(0, index, _CHANGED) for index in range(900)]
    poses = [poses_at(p.scene, torch.tensor([p.time])) for p in pictures]
    turning = [p.scene.motion.startswith("turn_") for p in pictures]
    angles = [pose.angle.item() for pose, turns in zip(poses, turning, strict=True) if turns]
    eighths = [int(angle % (2 * math.pi) / (2 * math.pi) * 8) for angle in angles]
    assert min(eighths.count(eighth) for eighth in range(8)) > len(angles) / 8 / 2
    sizes = [
        pose.radius.item() / picture.scene.radius
        for picture, pose, turns in zip(pictures, poses, turning, strict=True)
        if not turns
    ]
    assert min(sizes) < 0.65 and max(sizes) > 1.4
    assert sum(size < 0.8 for size in sizes) > len(sizes) / 20


def test_crisp_pictures_are_frames_and_cues_are_not():
    for index in range(40):
        picture = sample_picture(0, index)
        frame = render_moments(picture.scene, torch.tensor([picture.time]), 32)[0]
        is_frame = torch.equal(render_picture(picture, 32), frame)
        if not picture.kind.startswith("cue_"):
            assert is_frame
        elif picture.scene.motion != "still":
            assert not is_frame


def test_captions_tell_what_the_kind_says():
    for index in range(100):
        picture = sample_picture(0, index)
        said = set(words(picture_caption(picture, index)))
        names = {picture.scene.colour, picture.scene.shape}
        assert names <= said if picture.kind != "cue_motion" else not names & said
        if picture.kind not in ("crisp_content", "crisp_changed"):
            assert said & MOTION_WORDS


def test_contrasting_captions_differ_in_motion_words_only():
    for index in range(100):
        one, other = (words(c) for c in contrasting_captions(sample_picture(0, index), index))
        assert [w for w in one if w in CONTENT_WORDS] == [w for w in other if w in CONTENT_WORDS]
        assert {*one} & MOTION_WORDS != {*other} & MOTION_WORDS


def test_mix_that_does_not_sum_to_one_is_refused():
    with pytest.raises(ValueError, match="sum to 1"):
        PictureMix(crisp_content=0.5)
