"""The picture that the pack brings along."""

from __future__ import annotations

from livephoto_core.shapes.base_model import BASE_MODEL_PATH, open_base_model
from livephoto_core.shapes.scene import BASE_SIZE_PX, max_speed_px
from livephoto_core.shapes.shipped import EXAMPLE_SCENE, example_picture
from livephoto_core.shapes.tracking import seen_colour, seen_shape


def test_example_picture_shows_what_its_tooltip_says_at_the_models_size():
    picture = example_picture()
    size_px = open_base_model(BASE_MODEL_PATH).config.size_px
    assert picture.shape == (1, size_px, size_px, 3)
    assert (seen_colour(picture[0]), seen_shape(picture[0])) == ("red", "heart")


def test_example_scene_has_way_to_go_in_all_directions():
    for direction in ("left", "right", "up", "down"):
        speed_px = max_speed_px(EXAMPLE_SCENE, f"move_{direction}")
        assert speed_px * 15 > BASE_SIZE_PX / 4
