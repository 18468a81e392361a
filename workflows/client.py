"""Animate with a ComfyUI that runs elsewhere or without a window. Needs Python and nothing else.

    python client.py api/demo.json "a red heart grows" 8 heart.mp4
    python client.py api/pia.json "she smiles and waves" 5 wave.mp4 --photo she.jpg
    python client.py api/pia.json "she smiles and waves" 5 other.mp4 --photo she.jpg --seed 7
    python client.py api/pia.json "she smiles and waves" 5 wave.mp4 192.168.0.7:8188

Takes any workflow of the folder `api`, or your own from Workflow → Export (API) with the sentence
in a node titled "What happens". The photo goes into Load Image.
"""

import argparse
import json
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4


def ask(server, method, path, content=None, content_type="application/json", expected=(200,)):
    """Send a request to ComfyUI and return the bytes of its answer."""
    try:
        connection = HTTPConnection(server, timeout=60)
        connection.request(method, path, content, {"Content-Type": content_type})
        answer = connection.getresponse()
        body = answer.read()
    except OSError as error:
        sys.exit(f"ComfyUI at {server} does not answer: {error}")
    if answer.status not in expected:
        sys.exit(f"ComfyUI answers {answer.status} {answer.reason} to {method} {path}")
    return body


def upload(photo, server):
    """Put a picture into ComfyUI's input folder; returns the name that Load Image takes."""
    edge = uuid4().hex
    name = photo.name.replace('"', "%22")
    head = f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
    form = head.encode() + photo.read_bytes() + f"\r\n--{edge}--\r\n".encode()
    kind = f"multipart/form-data; boundary={edge}"
    return json.loads(ask(server, "POST", "/upload/image", form, kind))["name"]


def is_queued(run, server):
    """Tell whether a run waits or is at work."""
    queue = json.loads(ask(server, "GET", "/queue"))
    return run in [item[1] for item in queue["queue_running"] + queue["queue_pending"]]


def withdraw(run, server):
    """Take back a run: of a workflow with errors ComfyUI runs what has none."""
    while run is not None and is_queued(run, server):
        ask(server, "POST", "/queue", json.dumps({"delete": [run]}))
        ask(server, "POST", "/interrupt", json.dumps({"prompt_id": run}))
        # Again: ComfyUI forgets an interruption that comes just before the run starts.
        time.sleep(0.2)


def animate(workflow, sentence, intensity, server="127.0.0.1:8188", photo=None, seed=None):
    """Run a workflow with other values of its own; returns the video's bytes."""
    loads = [node for node in workflow.values() if node["class_type"] == "LoadImage"]
    if photo and not loads:
        sys.exit("The workflow has no Load Image for the photo: take another, such as api/pia.json")
    titles = [node.get("_meta", {}).get("title") for node in workflow.values()]
    if "What happens" not in titles:
        sys.exit('The workflow has no node titled "What happens" for the sentence.')
    for node in loads if photo else []:
        node["inputs"]["image"] = upload(photo, server)
    for node in workflow.values():
        if node.get("_meta", {}).get("title") == "What happens":
            node["inputs"]["text"] = sentence
        if "motion_intensity" in node["inputs"]:
            node["inputs"]["motion_intensity"] = intensity
        for name in {"seed", "noise_seed"} & node["inputs"].keys() if seed is not None else ():
            node["inputs"][name] = seed
    # Without a name ComfyUI 0.18 would leave out of its history what it took from its cache.
    prompt = json.dumps({"prompt": workflow, "client_id": "client.py"})
    answer = json.loads(ask(server, "POST", "/prompt", prompt, expected=(200, 400)))
    if answer.get("node_errors") or "prompt_id" not in answer:
        withdraw(answer.get("prompt_id"), server)
        sys.exit(f"ComfyUI refuses the workflow: {json.dumps(answer, indent=2)}")
    run, may_come = {}, True
    while not run:
        if not may_come:
            sys.exit("No video: the run was taken out of the queue, or ComfyUI was restarted.")
        time.sleep(0.5)
        # First the queue: what leaves it between the two questions is in the history by then.
        may_come = is_queued(answer["prompt_id"], server)
        run = json.loads(ask(server, "GET", f"/history/{answer['prompt_id']}"))
    outputs, status = (run[answer["prompt_id"]][key] for key in ("outputs", "status"))
    for output in outputs.values():
        for file in output.get("images", []):
            if file["filename"].endswith(".mp4"):
                place = {key: file[key] for key in ("filename", "subfolder", "type")}
                return ask(server, "GET", f"/view?{urlencode(place)}")
    sys.exit(f"No video: {json.dumps(status['messages'][-1], indent=2)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workflow", type=Path, help="in API format")
    parser.add_argument("sentence", help="what happens")
    parser.add_argument("intensity", type=float, help="how much moves, 1 to 10")
    parser.add_argument("video", type=Path, help="file to write")
    parser.add_argument("server", nargs="?", default="127.0.0.1:8188", help="address of ComfyUI")
    parser.add_argument("--photo", type=Path, metavar="FILE", help="for Load Image")
    parser.add_argument("--seed", type=int, help="another seed gives another video")
    given = parser.parse_args()
    workflow = json.loads(given.workflow.read_text(encoding="utf-8"))
    video = animate(
        workflow, given.sentence, given.intensity, given.server, given.photo, given.seed
    )
    given.video.write_bytes(video)
