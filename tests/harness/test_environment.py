import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness import environment
from harness.environment import REPOSITORY, comfyui_versions, prepare
from harness.packages import SetupError
from harness.releases import NEWEST, OLDEST


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """An empty folder for the harness, and no checkout of one's own."""
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setenv("LIVEPHOTO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def builds(own_home, monkeypatch):
    """Replaces the part of the set-up that takes minutes; counts how often it is called."""
    made = []

    def build(folder: Path, python: Path) -> None:
        made.append(folder)
        python.parent.mkdir(parents=True)
        python.touch()
        (environment.home() / f"ComfyUI-{NEWEST.version}").mkdir(exist_ok=True)

    monkeypatch.setattr(environment, "_build_venv", build)
    return made


def test_prepare_builds_once(builds):
    first = prepare()
    assert prepare() == first
    assert len(builds) == 1
    assert first.python == builds[0] / "bin" / "python"
    assert first.version == NEWEST.version


def test_prepare_starts_again_after_an_interrupted_set_up(builds, monkeypatch):
    whole_build = environment._build_venv

    def interrupted(folder: Path, python: Path) -> None:
        whole_build(folder, python)
        (folder / "half-installed").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(environment, "_build_venv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare()
    monkeypatch.setattr(environment, "_build_venv", whole_build)
    prepared = prepare()
    assert len(builds) == 2
    assert prepared.python.is_file()
    assert not (prepared.python.parent.parent / "half-installed").exists()


@pytest.mark.parametrize("is_killed", [False, True])
def test_environment_that_cannot_be_made_anew_is_left(builds, monkeypatch, is_killed):
    python = prepare().python
    python.write_text("the old one")
    whole_build = environment._build_venv

    def fail(folder: Path, python: Path) -> None:
        whole_build(folder, python)
        raise SetupError("no network")

    monkeypatch.setattr(environment, "TORCH", ["torch==0"])
    if is_killed:  # with the old one aside and half of a new one in its place
        python.parent.parent.rename(python.parent.parent.with_name("venv.before"))
        whole_build(python.parent.parent, python)
    monkeypatch.setattr(environment, "_build_venv", fail)
    with pytest.raises(SetupError, match="no network"):
        prepare()
    assert python.read_text() == "the old one"
    monkeypatch.setattr(environment, "_build_venv", whole_build)
    assert prepare().python.read_text() == ""
    assert [path.name for path in environment.home().glob("venv*")] == ["venv"]


def test_prepare_starts_again_when_the_constraints_change(builds, tmp_path, monkeypatch):
    prepare()
    changed = tmp_path / "constraints.txt"
    changed.write_text("torch==2.11.0\n")
    monkeypatch.setattr(environment, "CONSTRAINTS", changed)
    prepare()
    assert len(builds) == 2


def test_prepare_starts_again_in_a_folder_that_was_moved(builds, own_home, monkeypatch):
    prepare()
    moved = own_home.with_name("moved")
    shutil.move(own_home, moved)
    monkeypatch.setenv("LIVEPHOTO_HOME", str(moved))
    prepare()
    assert len(builds) == 2


def test_prepare_uses_the_checkout_of_comfyui_path(tmp_path, monkeypatch):
    (tmp_path / "main.py").touch()
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.25.1"\n')
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    prepared = prepare()
    assert prepared.comfyui == tmp_path
    assert prepared.python == Path(sys.executable)
    assert comfyui_versions() == [prepared.version] == ["0.25.1"]
    with pytest.raises(SetupError, match=r"0\.18\.0 is asked for, but COMFYUI_PATH holds 0\.25\.1"):
        prepare(OLDEST.version)


def test_prepare_refuses_a_comfyui_path_for_a_python_without_torch(tmp_path, monkeypatch):
    (tmp_path / "main.py").touch()
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.25.1"\n')
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SetupError, match=r"no PyTorch.*make PYTHON="):
        prepare()


def test_prepare_refuses_a_comfyui_path_without_comfyui(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"COMFYUI_PATH=.*expected a ComfyUI checkout"):
        prepare()


def test_prepare_names_the_known_releases_for_an_unknown_one(builds):
    with pytest.raises(ValueError, match=r"ComfyUI 0\.1\.0 is not pinned.*0\.30\.0, 0\.18\.0"):
        prepare("0.1.0")
    assert builds == []


def test_missing_ensurepip_says_what_to_install(own_home, monkeypatch):
    def without_ensurepip(*_args, **_options):
        raise subprocess.CalledProcessError(1, ["python", "-m", "ensurepip"])

    monkeypatch.setattr(environment.venv, "create", without_ensurepip)
    with pytest.raises(SetupError, match="apt install python3-venv"):
        prepare()


def test_constraints_pin_every_package_and_hold_no_local_path():
    lines = [
        line
        for line in environment.CONSTRAINTS.read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert len(lines) > 100
    assert all(len(line.split("==")) == 2 and "/" not in line for line in lines)
    assert set(environment.TORCH) <= set(lines)


def test_requirements_are_those_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == project["dependencies"]


def test_harness_needs_nothing_but_the_standard_library_until_the_environment_exists():
    program = (
        "import sys; before = set(sys.modules); import harness.commands; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - sys.stdlib_module_names))"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "['harness']"
