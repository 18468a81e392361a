"""What the harness reads from a real server's log (harness/server.py)."""

import pytest

from harness.environment import comfyui_versions, prepare
from harness.server import ComfyUIServer, ServerError

NEWEST = comfyui_versions()[0]
FAILING_PACKS = {
    "import": "import no_such_module",
    "entry point": "async def comfy_entrypoint():\n    import no_such_module\n",
}


@pytest.mark.parametrize(
    ("failing", "version"),
    [("import", NEWEST), *(("entry point", version) for version in comfyui_versions())],
)
def test_start_refuses_a_pack_that_does_not_import(failing, version, tmp_path):
    (tmp_path / "__init__.py").write_text(FAILING_PACKS[failing])
    server = ComfyUIServer(prepare(version), pack=tmp_path, device="cpu")
    with pytest.raises(ServerError, match="could not import the pack") as caught:
        server.start()
    assert "No module named 'no_such_module'" in str(caught.value)
    assert not server.is_running


def test_start_shows_the_log_of_a_comfyui_that_dies(tmp_path):
    server = ComfyUIServer(prepare(), pack=None, device="cpu", arguments=["--no-such-argument"])
    with pytest.raises(ServerError, match="ended with status 2") as caught:
        server.start()
    assert "--no-such-argument" in str(caught.value)
