import json
import os
import socket
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.environment import Environment
from harness.server import ComfyUIServer, ServerError, free_port, install_pack

# A main.py that answers like ComfyUI does: these tests are about the process, not about ComfyUI.
ANSWERING = """
import http.server, json, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
print("   0.2 seconds: /base/custom_nodes/comfyui-livephoto", flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"system": {"comfyui_version": "9.9.9"}}).encode())
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def environment_with(main: str, folder: Path) -> Environment:
    folder.mkdir(exist_ok=True)
    (folder / "main.py").write_text(main)
    return Environment(Path(sys.executable), folder, "9.9.9")


def is_alive(process_id: int) -> bool:
    if not psutil.pid_exists(process_id):
        return False
    return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE


def test_free_port_can_be_bound_and_differs_while_in_use():
    port = free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        assert free_port() != port


def test_start_shows_the_log_of_a_server_that_dies(tmp_path):
    main = "import sys; print('no module named torch'); sys.exit(7)"
    server = ComfyUIServer(
        environment_with(main, tmp_path / "tree"), pack=None, base_directory=tmp_path / "base"
    )
    with pytest.raises(ServerError, match="ended with status 7") as caught:
        server.start()
    assert "no module named torch" in str(caught.value)
    assert not server.is_running


def test_port_in_use_is_said_and_the_log_of_who_uses_it_left(tmp_path):
    environment = environment_with(ANSWERING, tmp_path / "tree")
    with ComfyUIServer(environment, pack=tmp_path, base_directory=tmp_path / "base") as first:
        log = first.log_path.read_bytes()
        second = ComfyUIServer(
            environment, pack=tmp_path, base_directory=tmp_path / "base", port=first.port
        )
        with pytest.raises(ServerError, match=f"Port {first.port} is in use"):
            second.start()
        assert first.is_running and first.log_path.read_bytes() == log


def test_stop_ends_the_server_and_its_children(tmp_path):
    environment = environment_with(ANSWERING, tmp_path / "tree")
    with ComfyUIServer(environment, pack=tmp_path, base_directory=tmp_path / "base") as server:
        assert server.is_running
        assert server.pack_import_seconds == 0.2
        processes = [server.process_id, int(server.log_tail().split("child ")[1].split()[0])]
        assert all(is_alive(process_id) for process_id in processes)
    deadline = time.monotonic() + 5
    while any(is_alive(process_id) for process_id in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_alive(process_id) for process_id in processes)


def test_stop_removes_a_temporary_base_directory_and_keeps_a_given_one(tmp_path):
    environment = environment_with(ANSWERING, tmp_path / "tree")
    with ComfyUIServer(environment, pack=None) as server:
        assert server.base_directory.is_dir()
    assert not server.base_directory.exists()
    with ComfyUIServer(environment, pack=None, base_directory=tmp_path / "base"):
        pass
    assert (tmp_path / "base" / "server.log").is_file()


def test_install_pack_links_and_replaces_an_old_link(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(name)
        target = install_pack(tmp_path / name, tmp_path / "base")
    assert target == tmp_path / "base" / "custom_nodes" / "comfyui-livephoto"
    assert target.is_symlink()
    assert (target / "__init__.py").read_text() == "new"


def test_install_pack_copies_where_links_are_not_possible(tmp_path, monkeypatch):
    pack = tmp_path / "pack"
    (pack / ".comfyui" / "venv").mkdir(parents=True)
    (pack / "__init__.py").touch()

    def no_links(*_args, **_options):
        raise OSError(os.strerror(1))

    monkeypatch.setattr(Path, "symlink_to", no_links)
    target = install_pack(pack, tmp_path / "base")
    assert not target.is_symlink()
    assert [path.name for path in target.iterdir()] == ["__init__.py"]


def test_unknown_device_is_refused(tmp_path):
    environment = environment_with(json.dumps({}), tmp_path / "tree")
    with pytest.raises(ValueError, match="device: expected 'auto' or 'cpu', got 'tpu'"):
        ComfyUIServer(environment, device="tpu")  # type: ignore[arg-type]
