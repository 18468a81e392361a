"""The demo's command line, its sentences and its workflow."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from harness.demo_measure import asked_motion
from harness.demo_plan import (
    DEFAULT_PLAN,
    FRAMES_NODE,
    OUTPUT_FOLDER,
    WORKFLOW_PATH,
    Request,
    add_arguments,
    build_workflow,
    num_steps,
    plan_requests,
)
from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.motion_intensity import mean_ssim, motion_level
from livephoto_core.shapes.captions import VOCABULARY, words
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import with_motion
from livephoto_core.shapes.shipped import EXAMPLE_SCENE, LIVEPHOTO_PATH

HEART = "a red heart"


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_everything_on_the_command_line_is_optional():
    options = parse()
    assert (options.image, options.prompt, options.intensity) == (None, [], [])
    assert (options.seed, options.output) == (0, OUTPUT_FOLDER)


def test_everything_on_the_command_line_is_read():
    given = ["--image", "a.png", "--prompt", "it grows", "--prompt", "it waves"]
    options = parse(*given, "--intensity", "7", "--seed", "3", "--output", "there")
    assert options.image == Path("a.png") and options.output == Path("there")
    assert options.prompt == ["it grows", "it waves"]
    assert (options.intensity, options.seed) == ([7.0], 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--intensity", "0.5"], "expected a level from 1 to 10, got 0.5"),
        (["--intensity", "11"], "expected a level from 1 to 10, got 11"),
        (["--intensity", "nan"], "expected a level from 1 to 10, got nan"),
        (["--intensity", "much"], "invalid _level value: 'much'"),
        (["--seed", "-1"], "expected a number from 0 to 2**64 - 1, got -1"),
    ],
)
def test_bad_arguments_are_explained(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        parse(*arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_default_plan_has_all_kinds_of_motion_and_one_sentence_at_two_levels():
    requests = plan_requests([], [], HEART)
    motions = [asked_motion(request.prompt) for request in requests]
    assert len(set(motions)) == len(DEFAULT_PLAN) >= 12
    [repeated] = {motion for motion in motions if motions.count(motion) > 1}
    assert motions.count(repeated) == 2
    assert {word for request in requests for word in words(request.prompt)} <= VOCABULARY


@pytest.mark.parametrize("request_", plan_requests([], [], HEART), ids=str)
def test_default_levels_are_within_reach_of_the_picture(request_):
    """A move cannot be wilder than one that ends at the edge of the frame."""
    edges = read_checkpoint(LIVEPHOTO_PATH).config.ssim_edges
    assert edges is not None
    motion = asked_motion(request_.prompt)
    assert motion is not None
    scenes = [with_motion(EXAMPLE_SCENE, motion, share / 10) for share in range(1, 11)]
    levels = [motion_level(mean_ssim(render_clip(s, size_px=64)), edges) for s in scenes]
    assert min(abs(request_.level - level) for level in levels) <= 1


def test_sentences_and_levels_are_combined():
    requests = plan_requests(["it grows", "it waves"], [3, 8], HEART)
    assert requests == (
        Request("it grows", 3),
        Request("it grows", 8),
        Request("it waves", 3),
        Request("it waves", 8),
    )


def test_a_request_is_made_only_once():
    assert len(plan_requests(["it grows", "it grows"], [5, 5], HEART)) == 1


def test_a_sentence_alone_gets_the_middle_level():
    assert plan_requests(["it grows"], [], HEART) == (Request("it grows", 5),)


def test_levels_alone_go_to_the_default_sentences_about_the_users_picture():
    requests = plan_requests([], [4], "an orange star")
    assert len(requests) == len(DEFAULT_PLAN)
    assert {request.level for request in requests} == {4}
    assert all(request.prompt.startswith("an orange star") for request in requests)


def test_workflow_is_the_shipped_one_but_for_what_was_asked():
    shipped = json.loads(WORKFLOW_PATH.read_text())
    workflow = build_workflow(Request("it grows", 7.5), image_name="a.png", seed=9)
    added = workflow.keys() - shipped.keys()
    assert {workflow[key]["class_type"] for key in added} == {"LoadImage", "PreviewImage"}
    changed = {
        (node["class_type"], name): workflow[key]["inputs"][name]
        for key, node in shipped.items()
        for name, value in node["inputs"].items()
        if workflow[key]["inputs"][name] != value
    }
    [load] = [key for key in added if workflow[key]["class_type"] == "LoadImage"]
    assert workflow[load]["inputs"] == {"image": "a.png"}
    assert changed == {
        ("ReferenceEncode", "image"): [load, 0],
        ("CLIPTextEncode", "text"): "it grows",
        ("LivePhotoSampler", "motion_intensity"): 7.5,
        ("LivePhotoSampler", "seed"): 9,
    }


def test_sentence_becomes_the_positive_text_and_frames_come_from_the_decoder():
    workflow = build_workflow(Request("it grows", 5), image_name="a.png", seed=0)
    [sampler] = [n for n in workflow.values() if n["class_type"] == "LivePhotoSampler"]
    reweight = workflow[sampler["inputs"]["positive"][0]]
    assert workflow[reweight["inputs"]["positive"][0]]["inputs"]["text"] == "it grows"
    assert workflow[reweight["inputs"]["negative"][0]]["inputs"]["text"] == ""
    [decoder, _] = workflow[FRAMES_NODE]["inputs"]["images"]
    assert workflow[decoder]["class_type"] == "VAEDecode"
    assert num_steps(workflow) == sampler["inputs"]["steps"]
