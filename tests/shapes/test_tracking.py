import math

import pytest
import torch
import torch.nn.functional as F

from livephoto_core.shapes.motion_paths import poses_at
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import (
    COLOURS,
    EVALUATION_AMOUNTS,
    MOTIONS,
    SHAPES,
    sample_scene,
    with_motion,
)
from livephoto_core.shapes.split import sample_evaluation_scene
from livephoto_core.shapes.tracking import (
    classify_motion,
    first_frame_psnr,
    measure_tracks,
    seen_colour,
    seen_shape,
)


def _decoded(clip, seed):
    """A clip as a small autoencoder gives it back: blurred (0.7 px) and noisy (0.03)."""
    offsets = torch.arange(-3.0, 4.0)
    kernel = torch.exp(-(offsets**2) / (2 * 0.7**2))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, 7)
    padded = F.pad(clip.movedim(-1, 1), (3, 3, 3, 3), mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.mT, groups=3).movedim(1, -1)
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(seed))
    return (blurred + 0.03 * noise).clamp(0, 1)


def seen_identity(clip):
    return seen_shape(clip[-1]), seen_colour(clip[-1])


def _evaluation_scenes(count, seed):
    return [
        sample_evaluation_scene(seed, index, motions=(MOTIONS[index % len(MOTIONS)],))
        for index in range(count)
    ]


@pytest.mark.parametrize(("size_px", "count"), [(64, 48), (128, 16)])
def test_motion_and_identity_of_rendered_clips_are_recognised(size_px, count):
    for scene in _evaluation_scenes(count, seed=size_px):
        clip = render_clip(scene, 16, size_px)
        assert classify_motion(clip) == scene.motion, scene
        assert seen_identity(clip) == (scene.shape, scene.colour), scene


@pytest.mark.parametrize(("size_px", "count"), [(64, 48), (128, 16)])
def test_motion_and_identity_of_noisy_blurred_clips_are_recognised(size_px, count):
    right = kept = 0
    for index, scene in enumerate(_evaluation_scenes(count, seed=1 + size_px)):
        clip = _decoded(render_clip(scene, 16, size_px), seed=index)
        right += classify_motion(clip) == scene.motion
        kept += seen_identity(clip) == (scene.shape, scene.colour)

    assert right / count >= 0.95 and kept / count >= 0.95


@pytest.mark.parametrize(
    "motion", [m for m in MOTIONS if m not in ("appear", "lightning", "wave", "still")]
)
def test_tracks_are_those_of_the_closed_form(motion):
    scene = sample_scene(11, 0, motions=(motion,), amounts=EVALUATION_AMOUNTS)
    tracks = measure_tracks(render_clip(scene, 16, 128))
    poses = poses_at(scene, torch.arange(16.0))
    centre = torch.tensor(scene.centre)
    carried = 0.5 + (centre - 0.5) * poses.zoom[:, None] + poses.shift
    size = poses.radius / poses.zoom / scene.radius

    torch.testing.assert_close(tracks.offset, poses.centre - carried, atol=0.02, rtol=0)
    torch.testing.assert_close(tracks.log_size, size.log(), atol=0.1, rtol=0)
    torch.testing.assert_close(tracks.angle, poses.angle, atol=math.radians(8), rtol=0)
    torch.testing.assert_close(tracks.shift, poses.shift, atol=0.01, rtol=0)
    torch.testing.assert_close(tracks.log_zoom, poses.zoom.log(), atol=0.03, rtol=0)


def test_wave_leans_to_both_sides():
    scene = sample_scene(11, 0, motions=("wave",), amounts=(1.0, 1.0))
    tracks = measure_tracks(render_clip(scene, 16, 128))

    expected = poses_at(scene, torch.arange(16.0)).angle
    torch.testing.assert_close(tracks.angle, expected, atol=math.radians(5), rtol=0)


def test_area_of_the_second_shape_is_measured():
    scene = sample_scene(11, 0, shapes=("circle",), motions=("appear",), amounts=(1.0, 1.0))
    tracks = measure_tracks(render_clip(scene, 16, 128))

    assert tracks.second_area[0] < 1e-4
    coloured = math.pi * 0.1**2 * (0.88**2 - 0.3**2)  # all but its white spot
    assert tracks.second_area[-1].item() == pytest.approx(coloured, rel=0.15)


@pytest.mark.parametrize("motion", MOTIONS)
def test_motion_too_slow_to_see_counts_as_still(motion):
    for index in range(2):
        scene = with_motion(sample_scene(12, index), motion, 0.04)
        assert classify_motion(render_clip(scene, 16, 64)) == "still"


def test_mirrored_clip_moves_the_other_way():
    mirrored = {
        "move_left": "move_right",
        "turn_clockwise": "turn_counterclockwise",
        "pan_left": "pan_right",
        "grow": "grow",
    }
    for motion, expected in mirrored.items():
        scene = sample_scene(13, 0, motions=(motion,), amounts=EVALUATION_AMOUNTS)
        assert classify_motion(render_clip(scene, 16, 64).flip(2)) == expected


def test_reversed_clip_undoes_the_motion():
    undone = {"grow": "shrink", "move_up": "move_down", "zoom_in": "zoom_out"}
    for motion, expected in undone.items():
        scene = sample_scene(13, 1, motions=(motion,), amounts=EVALUATION_AMOUNTS)
        assert classify_motion(render_clip(scene, 16, 64).flip(0)) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_and_colour_are_named_at_any_angle(shape):
    for colour in COLOURS:
        scene = sample_scene(15, 0, shapes=(shape,), colours=(colour,), motions=("turn_clockwise",))
        image = render_clip(scene, 12, 64)[11]
        assert (seen_shape(image), seen_colour(image)) == (shape, colour)


def test_picture_without_a_shape_is_measured_without_an_error():
    empty = torch.full((16, 64, 64, 3), 0.4)

    assert classify_motion(empty) == "still"
    assert seen_colour(empty[0]) in COLOURS and seen_shape(empty[0]) in SHAPES


def test_psnr_equals_scikit_images():
    from skimage.metrics import peak_signal_noise_ratio

    clip = render_clip(sample_scene(0, 0), 2, 32)
    noisy = _decoded(clip, seed=0)

    expected = peak_signal_noise_ratio(clip[0].numpy(), noisy[0].numpy(), data_range=1)
    assert first_frame_psnr(noisy, clip[0]) == pytest.approx(expected, abs=1e-4)
    assert first_frame_psnr(clip, clip[0]) == math.inf


def test_reference_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"reference must have the size .*\(32, 32, 3\), got"):
        first_frame_psnr(torch.zeros(2, 32, 32, 3), torch.zeros(64, 64, 3))


@pytest.mark.parametrize("shape", [(4, 64, 64, 3), (16, 64, 48, 3), (16, 3, 64, 64)])
def test_frames_that_cannot_be_tracked_are_refused(shape):
    with pytest.raises(ValueError, match="frames must be at least 6 square frames"):
        classify_motion(torch.zeros(shape))
