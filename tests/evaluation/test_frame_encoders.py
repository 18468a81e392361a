"""Encoders against transformers used directly."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BitImageProcessor,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Model,
    ViTImageProcessor,
    ViTModel,
)

from livephoto_core.evaluation.frame_encoders import FrameEncoder
from tests.evaluation.evaluation_models import (
    write_clip,
    write_clip_vision,
    write_dino,
    write_dinov2,
)

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 40, 52, 3), dtype=np.uint8)
PICTURES = [Image.fromarray(frame) for frame in FRAMES]


def test_clip_is_transformers_image_embedding(tmp_path):
    folder = write_clip(tmp_path)
    pixels = CLIPImageProcessor.from_pretrained(folder)(images=PICTURES, return_tensors="pt")
    model = CLIPModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model.visual_projection(model.vision_model(**pixels).pooler_output)
    torch.testing.assert_close(FrameEncoder(folder, "clip")(FRAMES), expected, atol=1e-5, rtol=1e-4)


def test_image_tower_alone_is_a_clip_too(tmp_path):
    assert FrameEncoder(write_clip_vision(tmp_path), "clip")(FRAMES).shape == (3, 512)


@pytest.mark.parametrize(
    ("write", "model_class", "processor_class"),
    [(write_dino, ViTModel, ViTImageProcessor), (write_dinov2, Dinov2Model, BitImageProcessor)],
)
def test_dino_is_the_class_token(write, model_class, processor_class, tmp_path):
    folder = write(tmp_path)
    pixels = processor_class.from_pretrained(folder)(images=PICTURES, return_tensors="pt")
    with torch.no_grad():
        expected = model_class.from_pretrained(folder).eval()(**pixels).last_hidden_state[:, 0]
    torch.testing.assert_close(FrameEncoder(folder, "dino")(FRAMES), expected, atol=1e-5, rtol=1e-4)


def test_other_model_is_refused_by_name(tmp_path):
    folder = write_dinov2(tmp_path)
    with pytest.raises(ValueError, match="--clip: .* holds a 'dinov2' model, expected one of clip"):
        FrameEncoder(folder, "clip")


def test_folder_that_lacks_a_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--dino: .* has no config.json"):
        FrameEncoder(tmp_path, "dino")
    folder = write_dino(tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="--dino: .* cannot be loaded .*model.safetensors"):
        FrameEncoder(folder, "dino")
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is damaged"):
        FrameEncoder(folder, "dino")


def test_code_that_a_folder_asks_for_is_not_run(tmp_path):
    folder = write_dino(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoImageProcessor": "evil.Evil"}
    config["trust_remote_code"] = True
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    FrameEncoder(folder, "dino")(FRAMES)
    assert not (tmp_path / "ran").exists()
