import math

import pytest
import torch

from livephoto_core.shapes.scene import REACH, SHAPES
from livephoto_core.shapes.silhouettes import (
    coverage,
    local_coordinates,
    pixel_grid,
    segment_distance,
    shape_distance,
    spot_distance,
)

_FIELD = 3.0


@pytest.fixture(scope="module")
def points():
    return (pixel_grid(600) - 0.5) * _FIELD


def _star_area(tip: float, notch: float) -> float:
    return 5 * tip * notch * math.sin(math.pi / 5)


# A square on its tip and two half discs on its upper sides, for the heart.
_AREAS = {
    "circle": math.pi * 0.88**2,
    "square": 4 * 0.76**2,
    "triangle": 3 * math.sqrt(3) * 0.55**2,
    "star": _star_area(1.1, 0.52),
    "heart": 2 * 0.82**2 + math.pi * (0.82 / math.sqrt(2)) ** 2,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_area_is_that_of_the_geometry_book(points, shape):
    pixels_per_unit = 600 / _FIELD
    covered = coverage(shape_distance(shape, *points) * pixels_per_unit)

    assert (covered.mean() * _FIELD**2).item() == pytest.approx(_AREAS[shape], rel=3e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_centre_of_area_is_the_centre_of_rotation_and_reach_is_kept(points, shape):
    inside = shape_distance(shape, *points) < 0

    centre = torch.stack([axis[inside].mean() for axis in points])
    assert centre.abs().max() < 5e-3
    assert points.norm(dim=0)[inside].max() <= REACH


@pytest.mark.parametrize("shape", SHAPES)
def test_outline_is_as_sharp_as_a_distance(points, shape):
    distance = shape_distance(shape, *points)
    slope = torch.stack(torch.gradient(distance, spacing=_FIELD / 600)).norm(dim=0)
    near = distance.abs() < 0.02

    assert (slope[near] - 1).abs().median() < 1e-3
    assert slope[near].max() < 1.01


@pytest.mark.parametrize("shape", SHAPES)
def test_spot_is_inside_the_shape_and_above_its_centre(points, shape):
    body = shape_distance(shape, *points)
    inside = spot_distance(shape, body, x=points[0], y=points[1]) < 0

    assert (body[inside] < -0.07).all()
    assert inside.float().mean() * _FIELD**2 > 0.15
    assert points[1][inside].mean() < -0.2


def test_angles_are_clockwise_on_the_screen():
    grid = pixel_grid(4)
    right_of_centre = torch.tensor([0.9, 0.5])[:, None, None]
    quarter = torch.tensor([math.pi / 2])
    x, y = local_coordinates(
        right_of_centre, centre=torch.full((1, 2), 0.5), radius=torch.tensor([0.4]), angle=quarter
    )

    assert grid.shape == (2, 4, 4)
    # What is seen on the right after a quarter turn clockwise was at the top.
    torch.testing.assert_close(torch.stack([x, y]).flatten(), torch.tensor([0.0, -1.0]))


def test_distance_to_a_line_counts_its_ends():
    grid = torch.tensor([[0.5, 2.0], [1.0, 0.0]])[:, None, :]
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0]])

    torch.testing.assert_close(segment_distance(grid, corners), torch.tensor([[1.0, 1.0]]))
