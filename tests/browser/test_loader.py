"""Load LivePhoto says what its file carries, and which inputs matter with it."""

from __future__ import annotations

import pytest

from livephoto_core.checkpoints import read_checkpoint
from livephoto_core.checkpoints.description import advise, describe
from livephoto_core.shapes.shipped import LIVEPHOTO_PATH
from tests.browser.queueing import queue
from tests.browser.sampler_page import DEMO, LOADER

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
    return opened.front_end


def test_run_shows_parts_and_advice(front_end, screenshot):
    front_end.load_api_workflow(load_only(1.0))
    assert front_end.shown_text(LOADER, DESCRIPTION) is None
    queue(front_end)
    text = front_end.wait_for_text(LOADER, DESCRIPTION, "motion: LivePhoto")
    config = read_checkpoint(LIVEPHOTO_PATH).config
    assert text.split("\n") == [describe(config), *advise(config)]
    screenshot("loader")


def test_words_of_one_file_go_when_another_is_chosen(front_end):
    front_end.load_api_workflow(load_only(0.5))
    queue(front_end)
    front_end.wait_for_text(LOADER, DESCRIPTION, "motion: LivePhoto")
    front_end.set_widget(LOADER, "file", "livephoto.safetensors")
    assert front_end.shown_text(LOADER, DESCRIPTION) is None


def test_text_comes_back_with_undo(front_end):
    front_end.load_api_workflow(load_only(0.35))
    queue(front_end)
    text = front_end.wait_for_text(LOADER, DESCRIPTION, "motion: LivePhoto")
    front_end.undo(lambda: front_end.set_widget(LOADER, "lora_strength", 0.9))
    assert front_end.api_workflow()[LOADER]["inputs"]["lora_strength"] == 0.35
    assert front_end.wait_for_text(LOADER, DESCRIPTION, "motion: LivePhoto") == text


def test_words_of_a_file_do_not_come_back_to_another(front_end):
    front_end.load_api_workflow(load_only(0.45))
    queue(front_end)
    front_end.wait_for_text(LOADER, DESCRIPTION, "motion: LivePhoto")
    front_end.set_widget(LOADER, "file", "livephoto.safetensors")
    front_end.undo(lambda: front_end.set_widget(LOADER, "lora_strength", 0.9))
    inputs = front_end.api_workflow()[LOADER]["inputs"]
    assert (inputs["file"], inputs["lora_strength"]) == ("livephoto.safetensors", 0.45)
    assert front_end.shown_text(LOADER, DESCRIPTION) is None


@pytest.mark.parametrize("output", [None, {}, {"text": ["of another pack"]}])
@pytest.mark.parametrize("node_type", ["LivePhotoLoader", "MotionIntensity", "TextReweight"])
def test_output_without_our_words_is_passed_over(front_end, node_type, output):
    front_end.load_api_workflow({"1": {"class_type": node_type, "inputs": {}}})
    front_end.page.evaluate("output => app.graph.getNodeById(1).onExecuted(output)", output)


def test_text_is_in_no_saved_workflow(front_end):
    front_end.load_api_workflow(load_only(0.25))
    queue(front_end)
    front_end.wait_for_text(LOADER, DESCRIPTION, "motion: LivePhoto")
    saved = front_end.page.evaluate("app.graph.serialize()")
    [loader] = [node for node in saved["nodes"] if node["type"] == "LivePhotoLoader"]
    assert loader["widgets_values"] == [LIVEPHOTO_PATH.name, "none", 0.25]
    assert front_end.api_workflow()[LOADER]["inputs"] == load_only(0.25)[LOADER]["inputs"]
