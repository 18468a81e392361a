"""Load LivePhoto says what its file carries, and which inputs matter with it."""

from __future__ import annotations

import pytest

from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.checkpoints.description import advise, describe
from livephoto_core.shapes.shipped import LIVEPHOTO_PATH
from tests.browser.queueing import queue
from tests.browser.sampler_page import (
    DEMO,
    LOADER,
    quiet_console,
    set_widget,
    shown_text,
    wait_for_text,
)

pytestmark = pytest.mark.browser

DESCRIPTION = "livephoto_description"


def load_only(lora_strength: float):
    """A graph that loads the shipped file; ComfyUI 0.18 shows nothing of a run from the cache."""
    inputs = {**DEMO[LOADER]["inputs"], "motion_lora": "none", "lora_strength": lora_strength}
    return {
        LOADER: {**DEMO[LOADER], "inputs": inputs},
        "20": {"class_type": "PreviewAny", "inputs": {"source": [LOADER, 1]}},
    }


@pytest.fixture
def front_end(opened):
    with quiet_console(opened.front_end):
        yield opened.front_end


def test_run_shows_parts_and_advice(front_end):
    front_end.load_api_workflow(load_only(1.0))
    assert shown_text(front_end, LOADER, DESCRIPTION) is None
    queue(front_end)
    text = wait_for_text(front_end, LOADER, DESCRIPTION, "motion: LivePhoto")
    config = read_checkpoint(LIVEPHOTO_PATH).config
    assert text.split("\n") == [describe(config), *advise(config)]


def test_words_of_one_file_go_when_another_is_chosen(front_end):
    front_end.load_api_workflow(load_only(0.5))
    queue(front_end)
    wait_for_text(front_end, LOADER, DESCRIPTION, "motion: LivePhoto")
    set_widget(front_end, LOADER, "file", "livephoto.safetensors")
    assert shown_text(front_end, LOADER, DESCRIPTION) is None


def test_text_is_in_no_saved_workflow(front_end):
    front_end.load_api_workflow(load_only(0.25))
    queue(front_end)
    wait_for_text(front_end, LOADER, DESCRIPTION, "motion: LivePhoto")
    saved = front_end.page.evaluate("app.graph.serialize()")
    [loader] = [node for node in saved["nodes"] if node["type"] == "LivePhotoLoader"]
    assert loader["widgets_values"] == [LIVEPHOTO_PATH.name, "none", 0.25]
    assert front_end.api_workflow()[LOADER]["inputs"] == load_only(0.25)[LOADER]["inputs"]
