import math

import pytest
import torch

from livephoto_core.shapes.cues import render_cue
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import MOTIONS, sample_scene, with_motion

_SHEET = [sample_scene(4, index, shapes=("square",), colours=("green",)) for index in range(6)]


def _saturation_outside(scene, image, now):
    """Saturation of the picture beside the upright square that is seen now."""
    saturation = (image - image.mean(dim=-1, keepdim=True)).norm(dim=-1)
    (x, y), reach = now, 0.76 * scene.radius + 1 / 64
    axis = (torch.arange(64) + 0.5) / 64 - torch.tensor([[x], [y]])
    inside = (axis[0].abs() < reach)[None] & (axis[1].abs() < reach)[:, None]
    return saturation * ~inside, axis


def _spot_centre(image):
    spot = (image.amin(dim=-1) > 0.95).float()
    axis = (torch.arange(64) + 0.5) / 64
    return [(spot.sum(dim=1 - d) * axis).sum() / spot.sum() for d in (1, 0)]


@pytest.mark.parametrize("motion", MOTIONS)
def test_cue_differs_from_that_of_every_other_motion(motion):
    for scene in _SHEET[:2]:
        cue = render_cue(with_motion(scene, motion, 1.0), 64)
        for other in MOTIONS:
            difference = (cue - render_cue(with_motion(scene, other, 1.0), 64)).abs()
            assert other == motion or difference.amax() > 0.1


@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [
        ("move_left", 0, 1),
        ("move_right", 0, -1),
        ("move_up", 1, 1),
        ("move_down", 1, -1),
        ("pan_right", 0, 1),
        ("pan_left", 0, -1),
    ],
)
def test_trail_is_behind_the_shape(motion, axis, sign):
    for scene in _SHEET:
        image = render_cue(with_motion(scene, motion, 1.0), 64)
        spot_x, spot_y = _spot_centre(image)
        outside, axes = _saturation_outside(
            scene, image, (spot_x.item(), spot_y.item() + 0.42 * scene.radius)
        )
        by_side = outside.sum(dim=axis)
        behind = by_side[sign * axes[axis] > 0].sum()
        ahead = by_side[sign * axes[axis] < 0].sum()
        assert behind > 2 * ahead


def test_spot_trails_counterclockwise_of_itself_when_it_turns_clockwise():
    for scene in _SHEET:
        clockwise, counter = (
            render_cue(with_motion(scene, f"turn_{sense}", 1.0), 64)
            for sense in ("clockwise", "counterclockwise")
        )
        x = int(64 * scene.centre[0])
        left, right = (slice(0, x), slice(x + 1, 64))
        # After a third of a turn the spot has gone to its side; the trail is on that side too.
        light = [image.amin(dim=-1) for image in (clockwise, counter)]
        assert light[0][:, right].clamp(min=0.7).mean() > light[0][:, left].clamp(min=0.7).mean()
        assert light[1][:, left].clamp(min=0.7).mean() > light[1][:, right].clamp(min=0.7).mean()


@pytest.mark.parametrize(("motion", "side"), [("turn_clockwise", 1), ("turn_counterclockwise", -1)])
def test_arc_is_where_the_top_of_a_turning_shape_turns_to(motion, side):
    for scene in _SHEET:
        still = render_clip(scene, 1, 64)[0]
        light = (render_cue(with_motion(scene, motion, 1.0), 64) - still).mean(dim=-1)
        angles = torch.linspace(-math.pi / 2, math.pi / 2, 60)
        sums = []
        for sign in (side, -side):
            x = 64 * (scene.centre[0] + sign * 1.6 * scene.radius * angles.cos())
            y = 64 * (scene.centre[1] + 1.6 * scene.radius * angles.sin())
            seen = (x > 0) & (x < 63) & (y > 0) & (y < 63)
            sums.append(light[y[seen].long(), x[seen].long()].sum())
        assert sums[0] > 4 * sums[1].abs()


def test_still_cue_is_the_still_picture():
    scene = with_motion(_SHEET[0], "still", 0.0)

    torch.testing.assert_close(render_cue(scene, 64), render_clip(scene, 1, 64)[0])


def test_slow_scene_has_a_cue_that_can_be_seen():
    slow = with_motion(_SHEET[0], "move_left", 0.02)
    still = render_clip(slow, 1, 64)[0]

    assert (render_cue(slow, 64) - still).abs().amax() > 0.3


def test_cue_has_the_shape_and_range_it_promises():
    cue = render_cue(_SHEET[0], 32)

    assert cue.shape == (32, 32, 3) and cue.min() >= 0 and cue.max() <= 1
