"""Folders of weight files, as the pack registers them with ComfyUI."""

from __future__ import annotations

import copy

import folder_paths
import pytest

from livephoto_core.comfyui.model_files import checkpoint_names, checkpoint_path, register_folders
from livephoto_core.shapes.shipped import LIVEPHOTO_PATH

OURS = ("animatediff_models", "animatediff_motion_lora", "livephoto")


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A fresh ComfyUI's models folder."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    paths = copy.deepcopy(folder_paths.folder_names_and_paths)
    for name in OURS:
        paths.pop(name, None)
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", paths)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path / "models"


def test_folders_for_weights_are_made_and_searched(models):
    register_folders()
    assert sorted(folder.name for folder in models.iterdir()) == sorted(OURS)
    assert checkpoint_names() == [LIVEPHOTO_PATH.name]
    (models / "animatediff_models" / "pia.ckpt").write_bytes(b"weights")
    (models / "animatediff_models" / "notes.txt").write_text("no weights")
    folder_paths.filename_list_cache.clear()
    assert checkpoint_names() == ["pia.ckpt", LIVEPHOTO_PATH.name]
    assert checkpoint_path("pia.ckpt") == models / "animatediff_models" / "pia.ckpt"


def test_models_folder_that_cannot_be_written_stops_nothing(models):
    models.write_text("no folder")
    register_folders()
    assert checkpoint_names() == [LIVEPHOTO_PATH.name]


def test_folders_of_another_pack_are_searched_too(models, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "mm_sd_v15_v2.ckpt").write_bytes(b"weights")
    folder_paths.add_model_folder_path("animatediff_models", str(other))
    register_folders()
    assert checkpoint_path("mm_sd_v15_v2.ckpt") == other / "mm_sd_v15_v2.ckpt"
