import time

import pytest
import torch

from livephoto_core.motion_intensity import mean_ssim
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import COLOURS, MOTIONS, SHAPES, sample_scene, with_motion


def test_clip_has_the_shape_range_and_type_it_promises():
    clip = render_clip(sample_scene(0, 0), num_frames=5, size_px=48)

    assert clip.shape == (5, 48, 48, 3) and clip.dtype == torch.float32
    assert clip.min() >= 0 and clip.max() <= 1


def test_first_frames_of_all_motions_of_a_scene_are_identical():
    for index in range(8):
        scene = sample_scene(0, index)
        firsts = [render_clip(with_motion(scene, m, 1.0), 2, 64)[0] for m in MOTIONS]
        # Two roads to the same numbers: a camera that has not moved yet divides by a zoom of one.
        assert all((first - firsts[0]).abs().max() < 1e-6 for first in firsts)


@pytest.mark.parametrize("motion", [motion for motion in MOTIONS if motion != "still"])
def test_every_other_motion_changes_the_picture(motion):
    scene = sample_scene(0, 3, motions=(motion,), amounts=(0.4, 0.4))
    clip = render_clip(scene, 16, 64)

    assert (clip - clip[0]).abs().amax(dim=(1, 2, 3)).max() > 0.2


def test_stillness_is_still():
    clip = render_clip(sample_scene(0, 3, motions=("still",)), 16, 64)

    assert torch.equal(clip, clip[:1].expand_as(clip))


def test_same_scene_gives_the_same_bits_again():
    scenes = [sample_scene(2, index) for index in range(3)]
    clips = [render_clip(scene, 4, 32) for scene in scenes]

    for scene, clip in zip(scenes, clips, strict=True):
        assert torch.equal(clip, render_clip(scene, 4, 32))


def test_small_clips_are_the_large_ones_reduced():
    for index in range(16):
        scene = sample_scene(1, index, motions=(MOTIONS[index],))
        small, large = render_clip(scene, 4, 64), render_clip(scene, 4, 256)
        reduced = large.unfold(1, 4, 4).unfold(2, 4, 4).mean(dim=(-2, -1))
        assert (small - reduced).abs().mean() < 2e-3


@pytest.mark.parametrize("colour", COLOURS)
def test_shape_has_its_colour_and_stands_out(colour):
    scene = sample_scene(0, 1, shapes=("circle",), colours=(colour,), motions=("still",))
    image = render_clip(scene, 1, 128)[0]
    x, y = (int(128 * c) for c in scene.centre)
    below = image[y + int(0.5 * 128 * scene.radius), x]
    saturation = (image - image.mean(dim=-1, keepdim=True)).norm(dim=-1)

    torch.testing.assert_close(below, torch.tensor(COLOURS[colour]))
    assert saturation[:8].max() < 0.2 * saturation[y, x + int(0.5 * 128 * scene.radius)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_can_be_seen_to_turn(shape):
    scene = sample_scene(0, 1, shapes=(shape,), motions=("turn_clockwise",), amounts=(1.0, 1.0))
    clip = render_clip(scene, 16, 64)

    # The spot, at a quarter turn between frames 3 and 4, has left the top for the right.
    spot = (clip.amin(dim=-1) > 0.8).float()
    columns = torch.arange(64.0)
    centre_x = (spot.sum(dim=1) * columns).sum(dim=1) / spot.sum(dim=(1, 2))
    assert centre_x[4] > centre_x[0] + 1 and centre_x[11] < centre_x[0] - 1


def test_motion_spans_almost_still_to_wild():
    def ssim(motion: str, amount: float) -> float:
        return mean_ssim(render_clip(with_motion(sample_scene(0, 0), motion, amount), 16, 64))

    for motion in ("pan_left", "turn_clockwise", "zoom_out", "move_down"):
        values = [ssim(motion, amount) for amount in (0.02, 0.2, 0.5, 1.0)]
        assert values == sorted(values, reverse=True)
        assert values[0] > 0.999 and values[-1] < 0.97


def test_tiny_size_and_missing_frames_are_refused():
    with pytest.raises(ValueError, match="size_px must be 16 or more"):
        render_clip(sample_scene(0, 0), size_px=8)
    with pytest.raises(ValueError, match="num_frames must be 1 or more, got 0"):
        render_clip(sample_scene(0, 0), num_frames=0)


def test_speed_is_told():
    scenes = [sample_scene(0, index) for index in range(32)]
    for size_px in (64, 128):
        start = time.perf_counter()
        for scene in scenes:
            render_clip(scene, 16, size_px)
        print(f"{len(scenes) / (time.perf_counter() - start):.0f} clips/s at {size_px} px")
