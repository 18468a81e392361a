"""Files that are no weight files, and how long a file stays mapped."""

from __future__ import annotations

import gc
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from livephoto_core.checkpoints.errors import CheckpointError
from livephoto_core.checkpoints.weight_file import open_weight_file
from tests.checkpoints.weight_files import write_raw

NOT_WEIGHTS = {
    b"": "is empty: download it again",
    b"abc": "is a text file that starts with 'abc'",
    b"\x01\x02\x03": "is cut off after 3 bytes",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "is a Git LFS pointer",
    b"\n<!DOCTYPE html><html><body>Sign in</body></html>": "is a web page",
    b"<HTML lang=en>": "is a web page",
    b"Entry not found": "is a text file that starts with 'Entry not found'",
    b'{"error": "gated"}': "is a text file",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.": "cannot be loaded safely",
    b"\x89PNG\r\n\x1a\n" + bytes(100): "neither a safetensors file nor a torch archive",
    b"GGUF\x03\x00\x00\x00" + bytes(100): "neither a safetensors file nor a torch archive",
    (10**12).to_bytes(8, "little") + b"{": "claims a header of 1,000,000,000,000 bytes",
}


@pytest.mark.parametrize(("content", "sentence"), NOT_WEIGHTS.items())
def test_other_files_are_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as refused:
        open_weight_file(path)
    message = str(refused.value)
    assert message.startswith("model.safetensors ") and sentence in message
    assert message.endswith(".") and "\n" not in message


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder: choose a file in it"):
        open_weight_file(tmp_path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^gone\.ckpt does not exist: put it in models/"):
        open_weight_file(tmp_path / "gone.ckpt")


def test_circular_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(CheckpointError, match=r"^a cannot be read: "):
        open_weight_file(tmp_path / "a")


@pytest.mark.skipif(sys.platform == "win32", reason="a socket has no file there")
def test_socket_is_refused_without_waiting(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(CheckpointError, match=r"^s is not a regular file"):
            open_weight_file(tmp_path / "s")


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Root may read everything: act as nobody where the tests run as root."""
    if sys.platform == "win32":
        pytest.skip("file modes do not forbid reading there")
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_unreadable_file_is_refused(unprivileged: None) -> None:
    # Not under tmp_path, which belongs to root where the tests run as root.
    with tempfile.TemporaryDirectory() as folder:
        path = write_raw(Path(folder) / "model.safetensors", {})
        path.chmod(0)
        with pytest.raises(CheckpointError, match=r"cannot be read: Permission denied\.$"):
            open_weight_file(path)


def test_weights_are_the_stored_ones_at_any_alignment(tmp_path: Path) -> None:
    value = torch.tensor([1.5, -2.25])
    for padding in range(4):
        header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
        text = str(header).replace("'", '"').encode() + b" " * padding
        path = write_raw(tmp_path / f"{padding}.safetensors", text, value.numpy().tobytes())
        assert torch.equal(open_weight_file(path).load("a"), value)


def test_changing_a_loaded_weight_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(1000)}, path)
    before = path.read_bytes()
    open_weight_file(path).load("a").zero_()
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_file_is_mapped_only_while_a_weight_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(100_000), "b": torch.ones(100_000)}, path)

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(str(path))

    def handles() -> list[str]:
        found = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return [str(link.readlink()) for link in found if link.is_symlink()]

    file = open_weight_file(path)
    assert mappings() == 0
    weights = [file.load("a"), file.load("b")]
    assert mappings() == 1
    assert str(path) not in handles()
    del file, weights
    gc.collect()
    assert mappings() == 0
