"""Pickled checkpoints: what is safe is read, what is not is refused."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch._utils import _rebuild_tensor_v2

from livephoto_core.checkpoints.errors import CheckpointError
from livephoto_core.checkpoints.torch_archive import check_torch_is_safe, read_torch_archive


@pytest.mark.parametrize("wrapper", [None, "state_dict", "module"])
def test_weights_are_found_in_every_wrapping(tmp_path: Path, wrapper: str | None) -> None:
    weights = {"a": torch.arange(6.0).view(2, 3).half()}
    path = tmp_path / "model.ckpt"
    torch.save({wrapper: weights, "epoch": 1} if wrapper else {**weights, "epoch": 1}, path)
    archive = read_torch_archive(path)
    assert {name: (info.dtype, info.shape) for name, info in archive.tensors.items()} == {
        "a": ("F16", (2, 3))
    }
    assert torch.equal(archive.load("a"), weights["a"])


def test_nested_weights_are_named_by_both_keys(tmp_path: Path) -> None:
    path = tmp_path / "ip-adapter.bin"
    torch.save({"image_proj": {"proj.weight": torch.ones(2)}}, path)
    assert list(read_torch_archive(path).tensors) == ["image_proj.proj.weight"]


def test_transposed_weight_is_read(tmp_path: Path) -> None:
    weight = torch.arange(6.0).view(2, 3).T
    torch.save({"a": weight}, tmp_path / "model.ckpt")
    loaded = read_torch_archive(tmp_path / "model.ckpt").load("a")
    assert torch.equal(loaded, weight) and loaded.is_contiguous()


@pytest.mark.parametrize("version", ["1.13.1", "2.5.1+cu121", "2.0.0a0+git"])
def test_torch_before_2_6_is_refused(version: str) -> None:
    with pytest.raises(CheckpointError, match=r"^mm\.ckpt is a pickle, .* update torch to 2\.6"):
        check_torch_is_safe(Path("mm.ckpt"), version)


@pytest.mark.parametrize("version", ["2.6.0", "2.11.0+cpu", "3.0.0.dev20300101"])
def test_later_torch_is_accepted(version: str) -> None:
    check_torch_is_safe(Path("mm.ckpt"), version)


class _Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return Path.touch, (self.victim,)


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    path, victim = tmp_path / "model.ckpt", tmp_path / "victim"
    torch.save({"a": torch.ones(1), "b": _Hostile(victim)}, path)
    with pytest.raises(CheckpointError, match=r"model\.ckpt cannot be loaded safely"):
        read_torch_archive(path)
    assert not victim.exists()
    torch.load(path, weights_only=False)
    assert victim.exists(), "the file was not hostile, so the test shows nothing"


def _rewrite(path: Path, *, compression: int = zipfile.ZIP_STORED, pickled: bytes | None = None):
    """The archive again, with its entries compressed or its pickle exchanged."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, pickled if pickled and name.endswith("data.pkl") else content)
    return path


def _saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path / "model.ckpt", {"a": torch.zeros(10_000)})
    with pytest.raises(CheckpointError, match="is a zip archive, but not one that torch wrote"):
        read_torch_archive(_rewrite(path, compression=zipfile.ZIP_DEFLATED))


def test_plain_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "models.zip", "w") as archive:
        archive.writestr("mm.ckpt", b"x")
    with pytest.raises(CheckpointError, match=r"^models\.zip is a zip archive.*unpack it"):
        read_torch_archive(tmp_path / "models.zip")


def test_cut_archive_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path / "model.ckpt", {"a": torch.zeros(10_000)})
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(CheckpointError, match=r"^model\.ckpt is cut off or damaged"):
        read_torch_archive(path)


def test_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a list, not named weights"):
        read_torch_archive(_saved(tmp_path / "model.ckpt", [torch.ones(1)]))


def test_expanded_tensor_is_refused(tmp_path: Path) -> None:
    expanded = torch.ones(1).expand(10**12)
    with pytest.raises(CheckpointError, match="'a' in a form that is not plain data"):
        read_torch_archive(_saved(tmp_path / "model.ckpt", {"a": expanded}))


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sparse_tensor_is_refused(tmp_path: Path) -> None:
    indices, values = torch.zeros(1, 1), torch.ones(1)
    sparse = torch.sparse_coo_tensor(indices, values, (10**12,), check_invariants=True)
    with pytest.raises(CheckpointError, match=r"^model\.ckpt "):
        read_torch_archive(_saved(tmp_path / "model.ckpt", {"a": sparse}))


class _Storage:
    """Stands for a storage of any claimed length in a pickle."""


class _ClaimingPickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> tuple | None:
        if isinstance(obj, _Storage):
            return ("storage", torch.FloatStorage, "0", "cpu", 10**12)
        return None


class _Claim:
    def __reduce__(self) -> tuple:
        arguments = (_Storage(), 0, (10**12,), (1,), False, {})
        return _rebuild_tensor_v2, arguments


@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_pickle_that_claims_a_trillion_elements_costs_no_memory(tmp_path: Path) -> None:
    import resource

    path = _saved(tmp_path / "model.ckpt", {"a": torch.zeros(4)})
    pickled = io.BytesIO()
    _ClaimingPickler(pickled, protocol=2).dump({"a": _Claim()})
    _rewrite(path, pickled=pickled.getvalue())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"^model\.ckpt "):
        read_torch_archive(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_oversized_pickle_is_refused(tmp_path: Path) -> None:
    path = _saved(tmp_path / "model.ckpt", {"a": torch.zeros(4)})
    with pytest.raises(CheckpointError, match="which no model file needs"):
        read_torch_archive(_rewrite(path, pickled=b"N." + bytes(17 * 2**20)))
