"""Animate with a ComfyUI that runs elsewhere or without a window. Needs Python and nothing else.

    python client.py api/demo.json "a red heart grows" 8 heart.mp4
    python client.py api/pia.json "she smiles and waves" 5 wave.mp4 192.168.0.7:8188

Takes any workflow of the folder `api`, or your own from Workflow → Export (API) with the sentence
in a node titled "What happens".
"""

import json
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode


def ask(server, method, path, content=None):
    """Send a request to ComfyUI and return the bytes of its answer."""
    connection = HTTPConnection(server)
    connection.request(method, path, None if content is None else json.dumps(content))
    return connection.getresponse().read()


def animate(workflow, sentence, intensity, server="127.0.0.1:8188"):
    """Run a workflow with another sentence and motion intensity; returns the video's bytes."""
    for node in workflow.values():
        if node.get("_meta", {}).get("title") == "What happens":
            node["inputs"]["text"] = sentence
        if "motion_intensity" in node["inputs"]:
            node["inputs"]["motion_intensity"] = intensity
    answer = json.loads(ask(server, "POST", "/prompt", {"prompt": workflow}))
    if answer.get("node_errors") or "prompt_id" not in answer:
        sys.exit(f"ComfyUI refuses the workflow: {json.dumps(answer, indent=2)}")
    run = {}
    while not run:
        time.sleep(0.5)
        run = json.loads(ask(server, "GET", f"/history/{answer['prompt_id']}"))
    outputs, status = (run[answer["prompt_id"]][key] for key in ("outputs", "status"))
    for output in outputs.values():
        for file in output.get("images", []):
            if file["filename"].endswith(".mp4"):
                place = {key: file[key] for key in ("filename", "subfolder", "type")}
                return ask(server, "GET", f"/view?{urlencode(place)}")
    sys.exit(f"No video: {json.dumps(status['messages'][-1], indent=2)}")


if __name__ == "__main__":
    path, sentence, intensity, output, *server = sys.argv[1:]
    Path(output).write_bytes(
        animate(json.loads(Path(path).read_text()), sentence, float(intensity), *server)
    )
