"""The steps and their command line."""

from __future__ import annotations

from livephoto_core.shapes.base_training import stages
from livephoto_core.shapes.base_training.__main__ import main
from tests.shapes.base_models import OPTIONS


def test_command_line_names_the_step_that_is_missing(tmp_path, capsys):
    assert main(["export", "--run", str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    assert "autoencoder` first" in capsys.readouterr().err


def test_command_line_says_where_comfyui_is_not(tmp_path, capsys):
    arguments = ["autoencoder", "--run", str(tmp_path), "--comfyui", str(tmp_path)]
    assert main(arguments) == 2
    assert "main.py" in capsys.readouterr().err


def test_recorded_command_repeats_the_options():
    command = stages.command_line("text_to_image", OPTIONS, {"text_drop": 0.2})
    assert "text-to-image --num-steps=6 --batch-size=2" in command
    assert command.endswith("--text-drop=0.2")
