"""The commands behind `python3 -m harness`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import demo_plan
from harness.environment import Environment, home, prepare
from harness.packages import SetupError
from harness.releases import NEWEST
from harness.server import ComfyUIServer, ServerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Args:
        arguments: Words after the program's name; those of this process by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    own, passed_on = _split(given)
    options = _parser().parse_args(own)
    options.passed_on = passed_on
    try:
        return options.command(options)
    except (SetupError, ServerError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Separate what follows `--` (or `python`, or `module`) and is not for us."""
    if words[:1] in (["python"], ["module"]):
        return words[:1], words[1:]
    if "--" in words:
        at = words.index("--")
        return words[:at], words[at + 1 :]
    return words, []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m harness", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    setup = commands.add_parser("setup", help="make the environment and fetch ComfyUI")
    setup.set_defaults(command=_setup)

    serve = commands.add_parser(
        "serve", help="start ComfyUI with the pack; words after -- go to it"
    )
    serve.add_argument("--port", type=int, default=8188)
    serve.set_defaults(command=_serve)

    run = commands.add_parser("run", help="run a workflow; words after -- go to ComfyUI")
    run.add_argument("workflow", type=Path, help="a workflow in API format")
    run.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE")
    run.add_argument("--image", action="append", default=[], type=Path, help="upload this file")
    run.set_defaults(command=_run)

    demo = commands.add_parser("demo", help="animate a picture with the model in the repository")
    demo_plan.add_arguments(demo)
    demo.set_defaults(command=_demo)

    python = commands.add_parser("python", help="run the environment's Python with what follows")
    python.set_defaults(command=_python)
    module = commands.add_parser(
        "module", help="run a module of the pack, such as livephoto_core.shapes, with what follows"
    )
    module.set_defaults(command=_module)

    for command in (setup, serve, run, demo):
        command.add_argument("--comfyui", metavar="VERSION", help=f"default {NEWEST.version}")
    return parser


def _setup(options: argparse.Namespace) -> int:
    environment = prepare(options.comfyui)
    print(f"ComfyUI {environment.version} in {environment.comfyui}, with {environment.python}")
    return 0


def _python(options: argparse.Namespace) -> int:
    python = str(prepare().python)
    os.execv(python, [python, *options.passed_on])


def _module(options: argparse.Namespace) -> int:
    """The pack's command lines find ComfyUI by the environment variable."""
    environment = prepare()
    python = str(environment.python)
    variables = {**os.environ, "COMFYUI_PATH": str(environment.comfyui)}
    os.execve(python, [python, "-m", *options.passed_on], variables)


def _serve(options: argparse.Namespace) -> int:
    with _server(prepare(options.comfyui), options, port=options.port) as server:
        print(f"ComfyUI {server.environment.version} serves the pack at {server.url}")
        print(f"Models go to {server.base_directory / 'models'}; Ctrl-C stops it.", flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            return 0
        raise ServerError(f"ComfyUI ended. Last lines of {server.log_path}:\n{server.log_tail()}")


def _run(options: argparse.Namespace) -> int:
    environment = prepare(options.comfyui)
    _continue_in(environment)
    from harness.errors import ConnectionLostError, WorkflowError, WorkflowInterruptedError
    from harness.terminal import ProgressBar

    workflow = json.loads(options.workflow.read_text())
    for assignment in options.set:
        set_input(workflow, assignment)
    with _server(environment, options) as server, ProgressBar() as bar:
        client = server.client()
        for image in options.image:
            client.upload_image(image)
        try:
            result = client.run_workflow(workflow, on_progress=bar)
        except (WorkflowError, WorkflowInterruptedError, ConnectionLostError) as error:
            bar.close()
            return _failed_run(error, server)
    for path in result.files:
        print(path)
    return 0


def _demo(options: argparse.Namespace) -> int:
    environment = prepare(options.comfyui)
    _continue_in(environment)
    from harness.demo import run_demo
    from harness.demo_picture import NotShapesError, name_subject, read_picture
    from harness.errors import ConnectionLostError, WorkflowError, WorkflowInterruptedError

    try:
        image = read_picture(options.image)
    except NotShapesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    requests = demo_plan.plan_requests(options.prompt, options.intensity, name_subject(image))
    print(f"Starting ComfyUI {environment.version} …", flush=True)
    # What ComfyUI chooses on a CPU is slower; on a GPU this is its own choice.
    if not any(word.startswith("--use-") for word in options.passed_on):
        options.passed_on.append("--use-pytorch-cross-attention")
    with _server(environment, options) as server:
        try:
            run_demo(server.client(), image, requests, seed=options.seed, output=options.output)
        except (WorkflowError, WorkflowInterruptedError, ConnectionLostError) as error:
            return _failed_run(error, server)
    return 0


def _failed_run(error: Exception, server: ComfyUIServer) -> int:
    print(f"error: {error}\nThe server's log: {server.log_path}", file=sys.stderr)
    return 1


def _server(
    environment: Environment, options: argparse.Namespace, port: int | None = None
) -> ComfyUIServer:
    base_directory = home() / "base"
    arguments = options.passed_on
    return ComfyUIServer(environment, base_directory=base_directory, port=port, arguments=arguments)


def _continue_in(environment: Environment) -> None:
    """Start this command again in the environment's Python, which has the client's requirements."""
    if Path(sys.executable) != environment.python:
        python = str(environment.python)
        os.execv(python, [python, "-m", "harness", *sys.argv[1:]])


def set_input(workflow: dict[str, Any], assignment: str) -> None:
    """Change one input of a workflow in place.

    Args:
        workflow: In API format.
        assignment: "NODE.INPUT=VALUE". NODE is an id, or a class that occurs once. VALUE is JSON;
            what is not JSON counts as text.
    Raises:
        ValueError: If the assignment names no input of the workflow.
    """
    name, has_value, text = assignment.partition("=")
    node_name, _, input_name = name.partition(".")
    if not has_value or not input_name:
        raise ValueError(f"--set {assignment}: expected NODE.INPUT=VALUE.")
    inputs = workflow[_find_node(workflow, node_name)]["inputs"]
    if input_name not in inputs:
        known = ", ".join(inputs)
        raise ValueError(
            f"--set {assignment}: node {node_name} has no input of this name: {known}."
        )
    try:
        inputs[input_name] = json.loads(text)
    except json.JSONDecodeError:
        inputs[input_name] = text


def _find_node(workflow: dict[str, Any], name: str) -> str:
    if name in workflow:
        return name
    matches = [key for key, node in workflow.items() if node.get("class_type") == name]
    if len(matches) != 1:
        known = ", ".join(f"{key} ({node['class_type']})" for key, node in workflow.items())
        raise ValueError(
            f"--set: expected a node id, or a class that occurs once; {name!r} fits {len(matches)} "
            f"of {known}."
        )
    return matches[0]
