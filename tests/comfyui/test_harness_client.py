"""The client against real servers (harness/client.py)."""

import threading
import time

import av
import pytest
from PIL import Image

from harness.client import ComfyUIClient
from harness.environment import comfyui_versions, prepare
from harness.errors import ConnectionLostError, WorkflowError, WorkflowInterruptedError
from harness.server import ComfyUIServer, free_port

# A pack whose only nodes are slow, or fail: what the client must cope with.
PACK = """
import time
time.sleep(0.75)  # seen in ComfyUI's listing of import times
import comfy.utils
import comfy.model_management

class Wait:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"steps": ("INT",), "seed": ("INT",)}})
    RETURN_TYPES, FUNCTION, OUTPUT_NODE = ("INT",), "run", True

    def run(self, steps, seed):
        bar = comfy.utils.ProgressBar(steps)
        for _ in range(steps):
            time.sleep(0.2)
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update(1)
        return {"ui": {"text": [f"waited {steps}"]}, "result": (steps,)}

class Fail:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"seed": ("INT",)}})
    RETURN_TYPES, FUNCTION, OUTPUT_NODE = (), "run", True

    def run(self, seed):
        raise ValueError("image: expected 3 channels, got 4.")

NODE_CLASS_MAPPINGS = {"Wait": Wait, "Fail": Fail}
"""
VIDEO = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 48, "batch_size": 8, "color": 255},
    },
    "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
    "3": {
        "class_type": "SaveVideo",
        "inputs": {
            "video": ["2", 0],
            "filename_prefix": "video/blue",
            "format": "auto",
            "codec": "auto",
        },
    },
}


@pytest.fixture(scope="module", params=comfyui_versions())
def server(tmp_path_factory, request):
    pack = tmp_path_factory.mktemp("pack")
    (pack / "__init__.py").write_text(PACK)
    base_directory = tmp_path_factory.mktemp("base")
    environment = prepare(request.param)
    with ComfyUIServer(
        environment, pack=pack, base_directory=base_directory, device="cpu"
    ) as running:
        yield running


@pytest.fixture
def client(server):
    return server.client()


def wait(steps: int) -> dict:
    return {"7": {"class_type": "Wait", "inputs": {"steps": steps, "seed": time.monotonic_ns()}}}


def test_run_workflow_returns_the_saved_video(client, server):
    result = client.run_workflow(VIDEO)
    assert result.executed == ("1", "2", "3")
    assert [path.parent for path in result.files] == [server.directory("output") / "video"]
    with av.open(str(result.files[0])) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (64, 48, 8)
        assert sum(1 for _ in container.decode(stream)) == 8


def test_pack_import_seconds_is_what_comfyui_lists(server):
    assert server.pack_import_seconds == pytest.approx(0.8, abs=0.31)


def test_run_workflow_reports_progress_and_what_nodes_show(client):
    seen = []
    result = client.run_workflow(wait(3), on_progress=seen.append)
    assert [(step.node_id, step.class_type, step.maximum) for step in seen] == [
        ("7", "Wait", 3)
    ] * 3
    assert [step.value for step in seen] == [1, 2, 3]
    assert result.outputs["7"]["text"] == ["waited 3"]
    assert result.files == ()


def test_run_workflow_leaves_cached_nodes_out_of_executed(client):
    workflow = wait(1)
    assert client.run_workflow(workflow).executed == ("7",)
    assert client.run_workflow(workflow).executed == ()


def test_interrupt_ends_the_run(client):
    started = time.monotonic()
    with pytest.raises(WorkflowInterruptedError, match=r"node 7 \(Wait\)"):
        client.run_workflow(wait(100), on_progress=lambda _: client.interrupt())
    assert time.monotonic() - started < 10


def test_timeout_interrupts_the_run(client):
    with pytest.raises(TimeoutError, match=r"not done after 0\.7 s"):
        client.run_workflow(wait(100), timeout_s=0.7)
    assert client.run_workflow(wait(1), timeout_s=10).executed == ("7",)


def test_failing_node_is_named_with_its_message(client):
    workflow = {"5": {"class_type": "Fail", "inputs": {"seed": 1}}}
    with pytest.raises(WorkflowError) as caught:
        client.run_workflow(workflow)
    error = caught.value
    assert str(error) == "node 5 (Fail): image: expected 3 channels, got 4."
    assert (error.node_id, error.class_type, error.exception_type) == ("5", "Fail", "ValueError")
    assert "in run" in error.traceback


def test_invalid_input_is_refused_with_node_and_input(client):
    workflow = VIDEO | {
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": "x"}}
    }
    with pytest.raises(WorkflowError, match="FLOAT value: fps, x") as caught:
        client.run_workflow(workflow)
    assert (caught.value.node_id, caught.value.class_type) == ("2", "CreateVideo")
    assert caught.value.exception_type is None


def test_unknown_class_is_refused_by_name(client):
    with pytest.raises(WorkflowError, match="'Nonsense' not found") as caught:
        client.run_workflow({"4": {"class_type": "Nonsense", "inputs": {}}})
    assert (caught.value.node_id, caught.value.class_type) == ("4", "Nonsense")


def test_one_invalid_output_refuses_the_whole_workflow(client):
    workflow = wait(100) | {"8": {"class_type": "PreviewImage", "inputs": {}}}
    with pytest.raises(WorkflowError, match="Required input is missing: images"):
        client.run_workflow(workflow)
    assert client.run_workflow(wait(1), timeout_s=10).executed == ("7",)


def test_front_end_format_is_refused_before_it_is_sent(client):
    with pytest.raises(ValueError, match=r"front end's format; expected API format"):
        client.run_workflow({"nodes": [], "links": []})


def test_upload_image_can_be_loaded(client, server, tmp_path):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (8, 8), "red").save(photo)
    name = client.upload_image(photo)
    assert (server.directory("input") / name).read_bytes() == photo.read_bytes()
    workflow = {
        "1": {"class_type": "LoadImage", "inputs": {"image": name}},
        "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    (preview,) = client.run_workflow(workflow).files
    assert preview.parent == server.directory("temp")
    with Image.open(preview) as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)


def test_free_empties_the_cache(client):
    workflow = wait(1)
    client.run_workflow(workflow)
    client.free()
    time.sleep(1.5)  # the server frees when its queue has been idle for a moment
    assert client.run_workflow(workflow).executed == ("7",)


def test_server_that_is_not_there_is_named():
    client = ComfyUIClient(f"http://127.0.0.1:{free_port()}", {})
    with pytest.raises(ConnectionLostError, match=r"No ComfyUI answers at http://127\.0\.0\.1"):
        client.run_workflow(wait(1))


def test_server_that_dies_during_a_run_is_noticed(tmp_path):
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "__init__.py").write_text(PACK)
    environment = prepare()
    with ComfyUIServer(environment, pack=pack, device="cpu") as server:
        threading.Timer(2, server.stop).start()
        with pytest.raises(ConnectionLostError, match="closed the connection|No ComfyUI answers"):
            server.client().run_workflow(wait(100))
