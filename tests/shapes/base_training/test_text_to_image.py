"""What the base model proper learns from."""

from __future__ import annotations

import dataclasses

import torch
from transformers import CLIPTokenizer

from harness.environment import prepare
from livephoto_core.comfyui.demo_text import UNKNOWN_ROW, clip_tokens
from livephoto_core.shapes.base_training.pictures import picture_caption, sample_picture
from livephoto_core.shapes.rendering import render_clip
from livephoto_core.shapes.scene import COLOURS, SHAPES
from livephoto_core.shapes.split import sample_training_scene
from tests.shapes.base_models import OPTIONS, text_to_image


def test_every_word_of_every_caption_is_known(encoded, autoencoder):
    task = text_to_image(OPTIONS, encoded, autoencoder)
    pictures = [sample_picture(0, index) for index in range(500)]
    rows = task.token_rows([picture_caption(p, n) for n, p in enumerate(pictures)])
    assert not (rows == UNKNOWN_ROW).any()
    assert (task.token_rows(["a dinosaur"]) == UNKNOWN_ROW).any()


def test_dropped_words_are_never_special_tokens(encoded, autoencoder):
    task = text_to_image(OPTIONS, encoded, autoencoder, word_drop=0.999, text_drop=0.0)
    rows = task.make_batch(0)["rows"]
    special = task.token_rows([""])[0, :2]
    assert torch.isin(rows, torch.tensor([UNKNOWN_ROW, *special.tolist()])).all()
    assert (rows[:, 0] == special[0]).all() and (rows[:, -1] == special[1]).all()
    assert (rows == UNKNOWN_ROW).any()


def test_share_of_sentences_is_dropped(encoded, autoencoder):
    options = dataclasses.replace(OPTIONS, batch_size=400)
    task = text_to_image(options, encoded, autoencoder, word_drop=0.0, text_drop=0.25)
    is_empty = (task.make_batch(0)["rows"] == task.token_rows([""])).all(dim=1)
    assert 0.17 < is_empty.float().mean() < 0.33


def test_clip_tokens_are_those_of_transformers():
    folder = prepare().comfyui / "comfy" / "sd1_tokenizer"
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    sentence = "a red circle moving left, counterclockwise"
    expected = tokenizer(sentence, padding="max_length", max_length=77)["input_ids"]
    start = len(tokenizer(sentence)["input_ids"])
    assert list(clip_tokens(sentence))[:start] == expected[:start]
    assert set(clip_tokens(sentence)[start:]) == {49407}


def test_pictures_are_told_by_shape_and_colour(encoded, autoencoder, monkeypatch):
    task = text_to_image(OPTIONS, encoded, autoencoder)
    still = sample_training_scene(0, 0, motions=("still",))
    true = {
        f"a {colour} {shape}": dataclasses.replace(still, shape=shape, colour=colour)
        for shape in SHAPES
        for colour in COLOURS
    }
    asked = [*true, *true]
    wrong = {"a red circle": "a red square", "a blue star": "a pink star"}

    def draw(_, rows, noise):
        assert torch.equal(rows, task.token_rows(asked)) and len(noise) == len(asked)
        scenes = [true[wrong.get(sentence, sentence)] for sentence in asked]
        images = [render_clip(scene, num_frames=1, size_px=64)[0] for scene in scenes]
        return torch.stack(images).movedim(-1, 1) * 2 - 1

    monkeypatch.setattr(task, "_draw", draw)
    assert task.drawn(task.module) == {"drawn_shape": 39 / 40, "drawn_colour": 39 / 40}
