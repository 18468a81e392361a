"""ComfyUI's own front end in a headless browser: for the tests, and to write the workflow files."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError
from skimage import data

from harness.server import PACK_FOLDER_NAME, ComfyUIServer

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
START_TIMEOUT_MS = 120_000
# For all else that a test waits for: playwright's own are short for a busy machine.
TIMEOUT_MS = 60_000

FILES = {
    "checkpoints": ("v1-5-pruned-emaonly-fp16.safetensors", "dreamshaper_8.safetensors"),
    "livephoto": ("livephoto.safetensors",),
    "animatediff_models": ("pia.ckpt", "v3_sd15_mm.ckpt"),
    "clip_vision": ("dinov2-large.safetensors",),
    "loras": ("style.safetensors",),
}
"""Files that the workflows name, by folder. Only their names count in the front end's lists."""

# With a graph of its own choice loaded, or that would replace what a test loads.
IS_READY = """
() => window.app?.vueAppReady && 'SaveVideo' in LiteGraph.registered_node_types
    && app.extensionManager.workflow.activeWorkflow
"""

SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.VueNodes.Enabled": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.EnableWorkflowViewRestore": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,
}


TRIES, TRY_TIMEOUT_MS = 6, 10_000


def try_again(action: Callable[[], None]) -> None:
    """Do what an artist would do again: on a busy machine the front end may miss a click.

    Args:
        action: A click and what shows that it was heeded, within `TRY_TIMEOUT_MS`.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(PlaywrightTimeoutError):
            return action()
    return action()


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
        self.console_errors: list[str] = []
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.console_errors.append(str(error)))

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

    def load_template(self, name: str) -> None:
        """Replace the graph by a template of the pack, from where the template browser takes it."""
        self.page.evaluate(
            """async ([pack, name]) => {
                const response = await fetch(`/api/workflow_templates/${pack}/${name}.json`)
                await app.loadGraphData(await response.json(), true, true, name)
            }""",
            [PACK_FOLDER_NAME, name],
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
        if message.type == "error":
            self.console_errors.append(f"{message.text} ({message.location.get('url', '')})")
