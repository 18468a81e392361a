"""Reading the picture that is animated."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from skimage import data

from harness.commands import main
from harness.demo_picture import NotShapesError, from_pil, name_subject, read_picture, to_pil
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import COLOURS, SHAPES, sample_scene
from livephoto_core.shapes.shipped import example_picture


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


def test_default_picture_is_the_example():
    assert torch.equal(read_picture(None), example_picture()[0])


def test_middle_of_a_large_picture_is_taken_at_the_models_size(tmp_path):
    scene = sample_scene(0, 3)
    square = to_pil(render_clip(scene, 1, 256)[0])
    wide = Image.new("RGB", (356, 256), square.getpixel((0, 0)))
    wide.paste(square, (50, 0))
    wide.save(tmp_path / "wide.png")
    image = read_picture(tmp_path / "wide.png")
    assert image.shape == (64, 64, 3)
    assert (image - render_clip(scene, 1, 64)[0]).abs().mean() < 0.01


def test_photo_ends_the_demo_with_status_2_before_comfyui_starts(photo, capsys, monkeypatch):
    monkeypatch.setattr("harness.commands.ComfyUIServer", None)
    assert main(["demo", "--image", str(photo)]) == 2
    message = capsys.readouterr().err
    assert "photo.png: The demo model knows only coloured shapes" in message
    assert "pia" in message


def test_photo_is_refused_whichever_way_it_is_stored(photo, tmp_path):
    Image.open(photo).convert("RGBA").rotate(90).save(tmp_path / "other.webp")
    for path in (photo, tmp_path / "other.webp"):
        with pytest.raises(NotShapesError):
            read_picture(path)


def test_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "missing.png"):
        with pytest.raises(ValueError, match=rf"--image .*{name}: expected a picture"):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_subject_is_named(shape, colour):
    scene = sample_scene(1, 1, shapes=[shape], colours=[colour])
    article = "an" if colour == "orange" else "a"
    assert name_subject(render_clip(scene, 1, 64)[0]) == f"{article} {colour} {shape}"


def test_picture_survives_the_way_to_pil_and_back():
    picture = (torch.rand(8, 6, 3) * 255).round() / 255
    assert torch.equal(from_pil(to_pil(picture)), picture)
