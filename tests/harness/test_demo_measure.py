"""What a sentence asks for, and what a clip shows."""

from __future__ import annotations

import pytest

from harness.demo_measure import asked_motion, measure, unknown_words
from harness.demo_plan import Request
from livephoto_core.motion_intensity import DEFAULT_EDGES, mean_ssim
from livephoto_core.shapes.captions import full_caption, motion_caption, motion_wordings
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import MOTIONS, sample_scene
from livephoto_core.shapes.split import sample_evaluation_scene


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_caption_asks_for_its_own_motion(motion):
    scene = sample_scene(0, 0, motions=[motion])
    for wording in motion_wordings(motion):
        assert asked_motion(wording) == motion
    for seed in range(30):
        assert asked_motion(full_caption(scene, seed)) == motion
        assert asked_motion(motion_caption(scene, seed).upper() + ".") == motion


@pytest.mark.parametrize(
    "sentence",
    ["", "a red heart", "it grows and waves", "it outgrows left", "zoom", "it is stillness"],
)
def test_sentence_with_no_motion_or_several_asks_for_none(sentence):
    assert asked_motion(sentence) is None


@pytest.mark.parametrize("motion", ["move_left", "turn_clockwise", "still", "lightning"])
def test_rendered_clip_measures_as_what_it_is(motion):
    clip = render_clip(sample_evaluation_scene(2, 1, motions=[motion]), size_px=64)
    result = measure(Request(f"it {motion_wordings(motion)[0]}", 5), clip, 1.5, None)
    assert result.asked_motion == result.motion == motion


def test_level_is_measured_with_the_checkpoints_edges_or_the_packs():
    clip = render_clip(sample_evaluation_scene(2, 1, motions=["move_left"]), size_px=64)
    ssim = mean_ssim(clip)
    around = tuple(ssim + 0.001 * (5.5 - number) for number in range(1, 10))
    request = Request("it moves left", 5)
    assert measure(request, clip, 1.0, around).level == 6
    expected = 1 + sum(ssim < edge for edge in DEFAULT_EDGES)
    assert measure(request, clip, 1.0, None).level == expected


def test_unknown_words_are_listed_once_and_in_order():
    sentences = ["a dinosaur waves at a red heart", "the Dinosaur grows quickly"]
    assert unknown_words(sentences) == ["dinosaur", "at", "quickly"]
