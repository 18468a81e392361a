"""ComfyUI's own front end in a headless browser: for the tests, and to write the workflow files."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from skimage import data

from harness.server import ComfyUIServer

WORKFLOWS = Path(__file__).parents[2] / "workflows"
WORKFLOW_NAMES = sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json"))

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Twice the size of the pictures, so that text is still legible in them.
VIEWPORT = {"width": 2400, "height": 1350}
# On the canvas, where the tests keep it free of nodes.
FREE_SPACE = (1100, 250)
START_TIMEOUT_MS = 120_000
# For all else that a test waits for: playwright's own are short for a busy machine.
TIMEOUT_MS = 60_000

FILES = {
    "checkpoints": (
        "v1-5-pruned-emaonly-fp16.safetensors",
        "DreamShaper_8_pruned.safetensors",
        "dreamshaper_8.safetensors",
    ),
    "livephoto": ("livephoto.safetensors",),
    "animatediff_models": ("pia.ckpt", "v3_sd15_mm.ckpt"),
    "clip_vision": ("dinov2-large.safetensors",),
    "loras": ("style.safetensors",),
}
"""Files that the workflows name, the saved ones too, by folder. Only the names count, in lists."""

# With a graph of its own choice loaded, or that would replace what a test loads.
IS_READY = """
() => window.app?.vueAppReady && 'SaveVideo' in LiteGraph.registered_node_types
    && app.extensionManager.workflow.activeWorkflow
"""

SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.ColorPalette": "dark",
    "Comfy.VueNodes.Enabled": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.EnableWorkflowViewRestore": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
}

# The front end asks for a help page in its language before it takes the one for all languages.
LOOKS_FOR_HELP = re.compile(r"404 .*/docs/\w+/[\w-]+\.md\)$")

# At an execution id and a name.
WIDGET = """
([id, name]) => {
    const path = id.split(":")
    const last = path.pop()
    const graph = path.reduce((outer, id) => outer.getNodeById(id).subgraph, app.rootGraph)
    return graph.getNodeById(last)?.widgets?.find(widget => widget.name === name)
}
"""

TRIES, TRY_TIMEOUT_MS = 6, 10_000


def try_again(action: Callable[[], None]) -> None:
    """Do what an artist would do again: on a busy machine the front end may miss a click.

    Args:
        action: A click and what shows that it worked, within `TRY_TIMEOUT_MS`.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(PlaywrightTimeoutError):
            return action()
    return action()


def open_search(page: Page) -> None:
    """Open the search for nodes on free space, as an artist does; for use in `try_again`."""
    page.keyboard.press("Escape")
    page.mouse.dblclick(*FREE_SPACE)
    page.locator("input:focus").wait_for(timeout=TRY_TIMEOUT_MS)


@contextlib.contextmanager
def quiet_console(front_end: FrontEnd) -> Iterator[None]:
    """Fails if the console got an error or a warning in which the pack is named.

    Of all that came since the last of these checks, so that none between two tests is missed.
    """
    yield
    ours = [
        text
        for text in front_end.console_messages
        if "livephoto" in text.lower() and not LOOKS_FOR_HELP.search(text)
    ]
    front_end.console_messages.clear()
    assert ours == [], f"Messages about the pack in the console: {ours}"


def find_browser() -> str | None:
    """Path of a Chromium or Chrome, or None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def provide_files(server: ComfyUIServer) -> None:
    """Put an empty file for every model the workflows name, and a photo, where they belong."""
    for folder, names in FILES.items():
        for name in names:
            (server.models(folder) / name).touch()
    photo = server.directory("input") / "example.png"
    photo.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(data.astronaut()).save(photo)


@contextlib.contextmanager
def open_front_end(server: ComfyUIServer, browser: str) -> Iterator[FrontEnd]:
    """The front end of a running server, ready to load workflows.

    Args:
        server: With the files of `provide_files`.
        browser: From `find_browser`.
    """
    response = requests.post(f"{server.url}/settings", json=SETTINGS, timeout=60)
    response.raise_for_status()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser, headless=True, args=list(BROWSER_ARGUMENTS)
        )
        with contextlib.closing(chromium):
            page = chromium.new_page(viewport=VIEWPORT)
            page.set_default_timeout(TIMEOUT_MS)
            expect.set_options(timeout=TIMEOUT_MS)
            front_end = FrontEnd(page, server.url)
            front_end.open()
            yield front_end


class FrontEnd:
    """A page that shows ComfyUI.

    Args:
        page: Not yet at the server's address, so that no message of the console is missed.
        url: Of the server.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.console_messages: list[str] = []
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.console_messages.append(f"{error}\n{error.stack}"))

    def open(self, query: str = "") -> None:
        """Go to the server's address, with a query such as "?template=…", and wait until ready."""
        address = f"{self.url}/{query}"
        self.page.goto(address, wait_until="domcontentloaded", timeout=START_TIMEOUT_MS)
        self.page.wait_for_function(IS_READY, timeout=START_TIMEOUT_MS)

    def load_api_workflow(self, workflow: dict[str, Any]) -> None:
        """Replace the graph by a workflow in API format."""
        self.page.evaluate("workflow => app.loadApiJson(workflow, 'workflow')", workflow)

    def load_workflow(self, workflow: dict[str, Any]) -> None:
        """Replace the graph by a workflow in the front end's format."""
        self.page.evaluate("workflow => app.loadGraphData(workflow)", workflow)

    def set_setting(self, name: str, value: Any) -> None:
        """Give a setting of the front end a value, which the server keeps."""
        self.page.evaluate(
            "([name, value]) => app.extensionManager.setting.set(name, value)", [name, value]
        )

    @contextlib.contextmanager
    def setting(self, name: str, value: Any) -> Iterator[None]:
        """Give one of `SETTINGS` another value for a while."""
        self.set_setting(name, value)
        try:
            yield
        finally:
            self.set_setting(name, SETTINGS[name])

    def show_previews(self, method: str = "latent2rgb") -> None:
        """Choose the kind of previews in the settings, from where every prompt takes it."""
        self.set_setting("Comfy.Execution.PreviewMethod", method)

    def set_widget(self, node: str, name: str, value: Any) -> None:
        """Give an input a value as an artist does who moves its widget.

        Args:
            node: Execution id: "5:7" is node 7 in the subgraph of node 5.
        """
        self.page.evaluate(
            f"([id, name, value]) => {{ const widget = ({WIDGET})([id, name]);"
            " widget.value = value; widget.callback?.(value) }",
            [node, name, value],
        )

    def shown_text(self, node: str, name: str) -> str | None:
        """Return what a text of the pack's says on a node; None where there is none."""
        return self.page.evaluate(
            f"([id, name]) => ({WIDGET})([id, name])?.element.textContent ?? null", [node, name]
        )

    def wait_for_text(self, node: str, name: str, part: str) -> str:
        """Wait until a text of the pack's on a node has `part` in it, and return all of it."""
        self.page.wait_for_function(
            f"([id, name, part]) => ({WIDGET})([id, name])?.element.textContent.includes(part)",
            arg=[node, name, part],
        )
        text = self.shown_text(node, name)
        assert text is not None, f"The text {name} of node {node} went while it was read."
        return text

    def undo(self, change: Callable[[], None]) -> None:
        """Change the graph, and take the change back; all of its nodes are new then."""
        self._note_graph()
        change()
        self._note_graph()
        self.execute("Comfy.Undo")

    def execute(self, command: str) -> None:
        """Do what a menu entry or key of the front end does."""
        self.page.evaluate("command => app.extensionManager.command.execute(command)", command)

    def _note_graph(self) -> None:
        """Let undo know of the graph as it is, as the end of a drag or a key does."""
        self.page.evaluate(
            """() => {
                const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker
                // Newer front ends, older ones.
                tracker.captureCanvasState ? tracker.captureCanvasState() : tracker.checkState()
            }"""
        )

    def api_workflow(self) -> dict[str, Any]:
        """Return the graph in API format, as "Queue" would send it."""
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")

    def missing_node_types(self) -> list[str]:
        """Return the types of the graph's nodes that this ComfyUI does not know."""
        return self.page.evaluate(
            "app.graph.nodes.map(node => node.type)"
            ".filter(type => !(type in LiteGraph.registered_node_types))"
        )

    def _note_message(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.console_messages.append(f"{message.text} ({message.location.get('url', '')})")
