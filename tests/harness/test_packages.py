import hashlib
import io
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from harness.packages import SetupError, obtain_tree, run_logged, unpack_tree
from harness.releases import Release

PYTHON = Path(sys.executable)


def write_sdist(folder: Path, members: dict[str, str]) -> Path:
    """A source distribution `tiny-1.0.tar.gz` that pip takes, with members added."""
    basics = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "pyproject.toml": (
            '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
            '[project]\nname = "tiny"\nversion = "1.0"\n[tool.setuptools]\npackages = []\n'
        ),
    }
    path = folder / "tiny-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (basics | members).items():
            add_file(archive, f"tiny-1.0/{name}", text)
    return path


def add_file(archive: tarfile.TarFile, name: str, text: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(text)
    archive.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture
def tiny_release(tmp_path, monkeypatch):
    """A release whose source distribution lies in a folder, which pip is told to use alone."""
    index = tmp_path / "index"
    index.mkdir()
    tree = {"vendor/ComfyUI/main.py": "print('ComfyUI')", "vendor/ComfyUI/comfy/ops.py": "OPS = 1"}
    sdist = write_sdist(index, tree)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return Release("9.9.9", "tiny", "1.0", hashlib.sha256(sdist.read_bytes()).hexdigest(), "0.0.0")


def test_obtain_tree_unpacks_only_the_tree(tiny_release, tmp_path):
    destination = tmp_path / "home" / "ComfyUI-9.9.9"
    obtain_tree(PYTHON, tiny_release, destination=destination, log=tmp_path / "log")
    files = [path.relative_to(destination) for path in destination.rglob("*") if path.is_file()]
    assert sorted(map(str, files)) == ["comfy/ops.py", "main.py"]
    assert [path.name for path in destination.parent.iterdir()] == ["ComfyUI-9.9.9"]


def test_obtain_tree_refuses_another_digest(tiny_release, tmp_path):
    changed = replace(tiny_release, sha256="0" * 64)
    destination = tmp_path / "home" / "ComfyUI-9.9.9"
    with pytest.raises(SetupError, match="DO NOT MATCH THE HASHES") as caught:
        obtain_tree(PYTHON, changed, destination=destination, log=tmp_path / "log")
    assert tiny_release.sha256 in str(caught.value)
    assert list(destination.parent.iterdir()) == []


def test_obtain_tree_starts_again_after_an_interrupted_download(tiny_release, tmp_path):
    destination = tmp_path / "home" / "ComfyUI-9.9.9"
    half_made = destination.with_name(".ComfyUI-9.9.9.partial") / "tree"
    half_made.mkdir(parents=True)
    (half_made / "stale.py").touch()
    obtain_tree(PYTHON, tiny_release, destination=destination, log=tmp_path / "log")
    assert (destination / "main.py").is_file()
    assert not (destination / "stale.py").exists()


@pytest.mark.parametrize("kind", ["parent", "symlink", "device"])
def test_unpack_tree_refuses_members_that_leave_the_tree(kind, tmp_path):
    sdist = tmp_path / "tiny-1.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        add_file(archive, "tiny-1.0/vendor/ComfyUI/main.py", "")
        if kind == "parent":
            add_file(archive, "tiny-1.0/vendor/ComfyUI/../../../evil.py", "")
        else:
            member = tarfile.TarInfo("tiny-1.0/vendor/ComfyUI/evil.py")
            member.type = tarfile.SYMTYPE if kind == "symlink" else tarfile.CHRTYPE
            member.linkname = "/etc/passwd"
            archive.addfile(member)
    with pytest.raises(SetupError, match=r"evil\.py.*not a plain file inside the tree"):
        unpack_tree(sdist, tmp_path / "a" / "b" / "tree")
    assert not list(tmp_path.rglob("evil.py"))


def test_unpack_tree_refuses_an_archive_without_comfyui(tmp_path):
    sdist = write_sdist(tmp_path, {"vendor/Other/main.py": ""})
    with pytest.raises(SetupError, match=r"expected vendor/ComfyUI/main\.py"):
        unpack_tree(sdist, tmp_path / "tree")


def test_run_logged_shows_the_end_of_the_log_after_a_failure(tmp_path):
    program = "import sys\nfor n in range(50): print('line', n)\nsys.exit(3)"
    with pytest.raises(SetupError, match="Counting failed with exit status 3") as caught:
        run_logged([PYTHON, "-c", program], title="Counting", log=tmp_path / "log")
    assert "line 49" in str(caught.value)
    assert "line 9\n" not in str(caught.value)
    assert "line 9\n" in (tmp_path / "log").read_text()
