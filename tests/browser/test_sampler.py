"""What LivePhoto Sampler, Encode Reference and Motion Intensity show, before and after a run."""

from __future__ import annotations

import itertools

import pytest

from tests.browser.queueing import run
from tests.browser.sampler_page import (
    DECODE,
    DEMO,
    MEASURE,
    REFERENCE,
    SAMPLER,
    measured_demo,
    quiet_console,
    set_widget,
    show_previews,
    shown_text,
    wait_for_text,
)

pytestmark = pytest.mark.browser

MEASURED = "livephoto_measured"
SEEDS = itertools.count(1000)
SETTING = "([name, value]) => app.extensionManager.setting.set(name, value)"
LABEL = "id => app.graph.getNodeById(id).widgets.find(w => w.name === 'motion_intensity').label"
SAVED_VALUES = "id => app.graph.serialize().nodes.find(n => n.id == id).widgets_values"
CANVAS = "app.graph.getNodeById(7).widgets.find(w => w.name === 'livephoto_preview')?.element"
PICTURES = """async canvas => {
    const pictures = []
    for (let i = 0; i < 10; i++) {
        pictures.push(canvas.toDataURL())
        await new Promise(resolve => setTimeout(resolve, 130))
    }
    return new Set(pictures).size
}"""


def our_inputs(front_end):
    """What a prompt sends of the nodes that show something; core's Save Video adds its player."""
    workflow = front_end.api_workflow()
    return {node: workflow[node]["inputs"] for node in (REFERENCE, SAMPLER, MEASURE)}


@pytest.fixture
def front_end(opened):
    front_end = opened.front_end
    show_previews(front_end)
    workflow = measured_demo()
    # Of its own for every test, or ComfyUI would take the video of another from its cache.
    workflow[SAMPLER]["inputs"]["seed"] = next(SEEDS)
    front_end.load_api_workflow(workflow)
    with quiet_console(front_end):
        yield front_end


@pytest.mark.parametrize(
    ("intensity", "word"),
    [(1, "still"), (3, "calm"), (5, "lively"), (8, "strong"), (10, "wild")],
)
def test_word_follows_the_slider(front_end, intensity, word):
    set_widget(front_end, SAMPLER, "motion_intensity", intensity)
    assert front_end.page.evaluate(LABEL, SAMPLER) == f"{word} · motion_intensity"
    assert front_end.api_workflow()[SAMPLER]["inputs"]["motion_intensity"] == intensity


def test_word_follows_a_loaded_workflow(front_end):
    set_widget(front_end, SAMPLER, "motion_intensity", 10)
    saved = front_end.page.evaluate("app.graph.serialize()")
    set_widget(front_end, SAMPLER, "motion_intensity", 1)
    front_end.load_workflow(saved)
    assert front_end.page.evaluate(LABEL, SAMPLER) == "wild · motion_intensity"


@pytest.mark.parametrize(
    ("language", "word", "measured"), [("zh", "狂野", "测得"), ("ja", "激しい", "実測")]
)
def test_words_are_in_the_front_ends_language(front_end, language, word, measured):
    page = front_end.page
    try:
        page.evaluate(SETTING, ["Comfy.Locale", language])
        front_end.open()
        front_end.load_api_workflow(measured_demo())
        set_widget(front_end, SAMPLER, "motion_intensity", 10)
        assert page.evaluate(LABEL, SAMPLER).startswith(f"{word} · ")
        output = {"livephoto_measured": [{"level": 3, "ssim": 0.9, "asked": None}]}
        page.evaluate(
            "([id, output]) => app.graph.getNodeById(id).onExecuted(output)", [MEASURE, output]
        )
        wait_for_text(front_end, MEASURE, MEASURED, f"{measured} 3 (SSIM 0.9000)")
    finally:
        page.evaluate(SETTING, ["Comfy.Locale", "en"])
        front_end.open()


def test_apply_livephoto_has_words_too(opened):
    opened.front_end.load_template("ksampler")
    [node] = opened.front_end.page.evaluate(
        "app.graph.nodes.filter(node => node.type === 'ApplyLivePhoto').map(node => node.id)"
    )
    assert opened.front_end.page.evaluate(LABEL, node).endswith(" · motion_intensity")


def test_run_shows_loop_crop_and_measured_level_and_saves_none_of_them(front_end):
    page = front_end.page
    set_widget(front_end, SAMPLER, "control_after_generate", "fixed")
    before, inputs_before = page.evaluate(SAVED_VALUES, SAMPLER), our_inputs(front_end)
    page.evaluate(
        """() => {
            window.previews = []
            app.api.addEventListener("livephoto.preview", ({ detail }) => previews.push(detail))
            app.api.addEventListener("b_preview", () => previews.push({ node: "of ComfyUI" }))
        }"""
    )
    assert run(front_end)["type"] == "execution_success"
    assert {preview["node"] for preview in page.evaluate("previews")} == {SAMPLER}
    page.wait_for_function(f"({CANVAS})?.width === 8", timeout=10_000)
    assert page.evaluate_handle(CANVAS).evaluate(PICTURES) > 2

    on_measure = wait_for_text(front_end, MEASURE, MEASURED, "asked 6, measured ")
    assert "SSIM" in on_measure
    assert on_measure.startswith(shown_text(front_end, SAMPLER, MEASURED))
    page.wait_for_function("id => app.graph.getNodeById(id).imgs?.length", arg=REFERENCE)
    page.wait_for_function("id => app.graph.getNodeById(id).imgs?.length", arg=MEASURE)

    assert page.evaluate(SAVED_VALUES, SAMPLER) == before
    assert our_inputs(front_end) == inputs_before
    saved = page.evaluate("app.graph.serialize()")
    front_end.load_workflow(saved)
    assert page.evaluate(SAVED_VALUES, SAMPLER) == before
    assert our_inputs(front_end) == inputs_before


def test_measured_level_is_of_the_asked_one_of_the_run_behind_a_reroute(front_end):
    set_widget(front_end, SAMPLER, "motion_intensity", 3.5)
    front_end.page.evaluate(
        """([decode, measure]) => {
            const reroute = LiteGraph.createNode("Reroute")
            app.graph.add(reroute)
            app.graph.getNodeById(decode).connect(0, reroute, 0)
            reroute.connect(0, app.graph.getNodeById(measure), 0)
        }""",
        [DECODE, MEASURE],
    )
    assert run(front_end)["type"] == "execution_success"
    wait_for_text(front_end, SAMPLER, MEASURED, "asked 3.5, measured ")


def test_old_measure_goes_when_the_sampler_runs_again(front_end):
    assert run(front_end)["type"] == "execution_success"
    wait_for_text(front_end, SAMPLER, MEASURED, "measured ")
    front_end.page.evaluate(
        "id => app.api.dispatchEvent(new CustomEvent('executing', { detail: id }))", SAMPLER
    )
    assert shown_text(front_end, SAMPLER, MEASURED) is None


def test_frames_of_a_photo_show_only_the_measured_level(front_end):
    workflow = {
        "1": DEMO["1"],
        "2": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 4], "amount": 3}},
        MEASURE: {"class_type": "MotionIntensity", "inputs": {"images": ["2", 0]}},
        "12": {"class_type": "PreviewImage", "inputs": {"images": [MEASURE, 3]}},
    }
    front_end.load_api_workflow(workflow)
    assert run(front_end)["type"] == "execution_success"
    text = wait_for_text(front_end, MEASURE, MEASURED, "measured")
    assert text == "measured 1 (SSIM 1.0000)"


def test_loop_stops_with_its_node(front_end):
    page = front_end.page
    assert run(front_end)["type"] == "execution_success"
    page.wait_for_function(f"({CANVAS})?.width === 8", timeout=10_000)
    canvas = page.evaluate_handle(CANVAS)
    assert canvas.evaluate(PICTURES) > 2
    page.evaluate("app.graph.remove(app.graph.getNodeById(7))")
    assert canvas.evaluate(PICTURES) == 1


def test_no_loop_where_previews_are_off(front_end):
    front_end.page.evaluate(
        "app.extensionManager.setting.set('Comfy.Execution.PreviewMethod', 'none')"
    )
    assert run(front_end)["type"] == "execution_success"
    assert front_end.page.evaluate(f"!({CANVAS})")


@pytest.mark.parametrize(
    ("node", "inputs", "where", "sentence"),
    [
        ("6", {"frames": 8}, SAMPLER, "Set frames of TextReweight to 16."),
        (REFERENCE, {"clip_vision": None}, REFERENCE, "was trained with content tokens of"),
    ],
)
def test_wrong_wiring_is_explained(front_end, node, inputs, where, sentence):
    workflow = measured_demo()
    workflow[node]["inputs"] |= inputs
    workflow[node]["inputs"] = {k: v for k, v in workflow[node]["inputs"].items() if v is not None}
    front_end.load_api_workflow(workflow)
    failed = run(front_end)
    assert failed["type"] == "execution_error"
    assert failed["node_id"] == where
    assert sentence in failed["exception_message"]
