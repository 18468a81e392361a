"""Files that are there completely or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from livephoto_core.atomic_files import remove_leftovers, replacing, write_atomically


def test_of_several_at_once_one_whole_content_stays(tmp_path):
    path = tmp_path / "facts.json"
    contents = [bytes([number]) * 200_000 for number in range(8)]
    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(lambda content: write_atomically(path, content), contents))
    assert path.read_bytes() in contents
    assert [file.name for file in tmp_path.iterdir()] == ["facts.json"]


def test_failure_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half of the new", None])
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    for name in (".state.safetensors.0a1b2c3d.tmp", "state.safetensors", ".hidden", "notes.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        "state.safetensors",
        ".hidden",
        "notes.tmp",
    }
