import dataclasses
import math
import subprocess
import sys
from collections import Counter

import pytest
import torch

from livephoto_core.shapes.motion_paths import poses_at
from livephoto_core.shapes.scene import (
    AMOUNTS,
    COLOURS,
    MOTIONS,
    NUM_FRAMES,
    REACH,
    SHAPES,
    max_speed_px,
    sample_scene,
    with_motion,
)


def test_scene_depends_on_seed_and_index_alone_whatever_the_order():
    forwards = [sample_scene(3, index) for index in range(40)]
    backwards = [sample_scene(3, index) for index in reversed(range(40))]

    assert forwards == backwards[::-1]
    assert len({dataclasses.astuple(scene) for scene in forwards}) == 40
    assert forwards != [sample_scene(4, index) for index in range(40)]


def test_scene_is_the_same_in_another_process():
    code = "from livephoto_core.shapes.scene import sample_scene as s; print(s(3, 17))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert other.stdout.strip() == str(sample_scene(3, 17))


def test_what_the_first_frame_shows_is_sampled_without_looking_at_the_motion():
    for index in range(20):
        firsts = set()
        for motion in MOTIONS:
            scene = sample_scene(0, index, motions=(motion,))
            assert scene.motion == motion
            firsts.add(dataclasses.replace(scene, motion="still", speed_px=0.0))
        assert len(firsts) == 1


def test_all_choices_are_equally_likely():
    scenes = [sample_scene(0, index) for index in range(4000)]

    for names, field in ((SHAPES, "shape"), (tuple(COLOURS), "colour"), (MOTIONS, "motion")):
        counts = Counter(getattr(scene, field) for scene in scenes)
        expected = len(scenes) / len(names)
        assert set(counts) == set(names)
        # Four standard deviations of a binomial count.
        assert all(abs(count - expected) < 4 * math.sqrt(expected) for count in counts.values())


def test_speeds_spread_over_the_whole_range():
    moving = [sample_scene(0, index, motions=("move_left",)) for index in range(400)]
    amounts = [scene.speed_px / max_speed_px(scene, "move_left") for scene in moving]

    assert AMOUNTS[0] <= min(amounts) < 0.05 and 0.95 < max(amounts) <= AMOUNTS[1]


@pytest.mark.parametrize("motion", MOTIONS)
def test_shape_stays_in_the_frame_at_the_highest_speed(motion):
    times = torch.arange(NUM_FRAMES, dtype=torch.float32)
    for index in range(60):
        scene = sample_scene(1, index, motions=(motion,), amounts=(1.0, 1.0))
        poses = poses_at(scene, times)
        reach = REACH * poses.radius[:, None]
        assert (poses.centre - reach).min() > -1e-5
        assert (poses.centre + reach).max() < 1 + 1e-5
        assert poses.radius.min() > 0.1


@pytest.mark.parametrize("motion", MOTIONS)
def test_nothing_has_moved_in_the_first_frame(motion):
    scene = sample_scene(1, 0, motions=(motion,), amounts=(1.0, 1.0))
    poses = poses_at(scene, torch.zeros(1))

    torch.testing.assert_close(poses.centre[0], torch.tensor(scene.centre))
    torch.testing.assert_close(poses.radius[0].item(), scene.radius)
    assert poses.angle[0] == 0 and poses.zoom[0] == 1 and not poses.shift.any()
    assert poses.second_radius[0] == 0 and poses.flash[0] == 0


def test_second_shape_keeps_clear_of_the_first():
    for index in range(200):
        scene = sample_scene(2, index, motions=("appear",))
        assert math.dist(scene.centre, scene.conjured_at) > REACH * (scene.radius + 0.1)


def test_speed_is_the_way_of_the_centre_per_frame_at_128_px():
    scene = sample_scene(5, 0, motions=("move_right",))
    centre = poses_at(scene, torch.arange(3.0)).centre * 128

    torch.testing.assert_close(centre[2] - centre[1], torch.tensor([scene.speed_px, 0.0]))


def test_highest_speed_of_a_wave_is_that_of_its_centre():
    scene = sample_scene(5, 0, motions=("wave",))
    centre = poses_at(scene, torch.linspace(0, 8, 4001)).centre * 128
    speeds = centre.diff(dim=0).norm(dim=1) / (8 / 4000)

    assert speeds.max().item() == pytest.approx(scene.speed_px, rel=1e-3)


@pytest.mark.parametrize(
    ("field", "value"), [("shape", "cube"), ("colour", "teal"), ("motion", "flies")]
)
def test_unknown_name_is_refused_with_the_known_ones(field, value):
    with pytest.raises(ValueError, match=rf"{field} must be one of .*, got '{value}'"):
        dataclasses.replace(sample_scene(0, 0), **{field: value})


@pytest.mark.parametrize("name", ["seed", "index"])
def test_negative_number_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} must be 0 or more, got -1"):
        sample_scene(**{"seed": 0, "index": 0, name: -1})


def test_amount_beyond_the_highest_speed_is_refused():
    with pytest.raises(ValueError, match="amount must be from 0 to 1"):
        with_motion(sample_scene(0, 0), "grow", 1.2)
