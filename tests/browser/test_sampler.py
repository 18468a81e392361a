"""What LivePhoto Sampler, Encode Reference and Motion Intensity show, before and after a run."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest
import requests

from tests.browser.front_end import TRY_TIMEOUT_MS, WIDGET, WORKFLOWS, open_search, try_again
from tests.browser.queueing import RUN, run
from tests.browser.sampler_page import (
    DECODE,
    DEMO,
    LOADER,
    LOOP,
    MEASURE,
    MEASURED,
    PICTURES,
    REFERENCE,
    SAMPLER,
    short_demo,
)

pytestmark = pytest.mark.browser

LOCALES = WORKFLOWS.parent / "locales"
SEEDS = itertools.count(1000)
LABEL = "id => app.graph.getNodeById(id).widgets.find(w => w.name === 'motion_intensity').label"
SAVED_VALUES = "id => app.graph.serialize().nodes.find(n => n.id == id).widgets_values"
REASON = "livephoto_error"
CANVAS = f"({WIDGET})(['{SAMPLER}', '{LOOP}'])?.element"
# At first a node may show the picture of a run before.
HAS_PICTURE = """([id, width, height]) => {
    const picture = app.graph.getNodeById(id).imgs?.[0]
    return picture?.naturalWidth === width && picture.naturalHeight === height
}"""
SHOW_NODES = """ids => {
    ids.forEach((id, number) => { app.graph.getNodeById(id).pos = [5000 + 450 * number, 5000] })
    app.canvas.ds.scale = 1.5
    app.canvas.ds.offset = [-4850, -4900]
    app.canvas.setDirty(true, true)
}"""
NOTE_MESSAGES = """() => {
    window.previews = []
    window.progress = []
    app.api.addEventListener("livephoto.preview", ({ detail }) => previews.push(detail.node))
    app.api.addEventListener("b_preview", () => previews.push("of ComfyUI"))
    app.api.addEventListener("progress_state", ({ detail }) => progress.push(detail.nodes))
}"""


def our_inputs(front_end):
    """What a prompt sends of the nodes that show something; core's Save Video adds its player."""
    workflow = front_end.api_workflow()
    return {node: workflow[node]["inputs"] for node in (REFERENCE, SAMPLER, MEASURE)}


def show_nodes(front_end, *nodes):
    """Brings nodes, side by side, to where a screenshot shows them large."""
    front_end.page.evaluate(SHOW_NODES, nodes)


@pytest.fixture
def front_end(opened):
    front_end = opened.front_end
    front_end.show_previews()
    workflow = short_demo()
    # Of its own for every test, or ComfyUI would take the video of another from its cache.
    workflow[SAMPLER]["inputs"]["seed"] = next(SEEDS)
    front_end.load_api_workflow(workflow)
    return front_end


WORDS = [
    *((1, "still"), (1.9, "still"), (2, "calm"), (3.9, "calm"), (4, "lively"), (6.4, "lively")),
    *((6.5, "strong"), (8.9, "strong"), (9, "wild"), (10, "wild")),
]


def test_word_follows_the_slider(front_end):
    slider = f"({WIDGET})(['{SAMPLER}', 'motion_intensity'])"
    assert front_end.page.evaluate(f"{slider}.type") == "slider"
    for intensity, word in WORDS:
        front_end.set_widget(SAMPLER, "motion_intensity", intensity)
        assert front_end.page.evaluate(LABEL, SAMPLER) == f"{word} · motion_intensity"
        assert front_end.api_workflow()[SAMPLER]["inputs"]["motion_intensity"] == intensity


def test_word_follows_a_loaded_workflow(front_end):
    front_end.set_widget(SAMPLER, "motion_intensity", 10)
    saved = front_end.page.evaluate("app.graph.serialize()")
    front_end.set_widget(SAMPLER, "motion_intensity", 1)
    front_end.load_workflow(saved)
    assert front_end.page.evaluate(LABEL, SAMPLER) == "wild · motion_intensity"


@contextlib.contextmanager
def in_language(front_end, language):
    front_end.set_setting("Comfy.Locale", language)
    try:
        front_end.open()
        yield
    finally:
        front_end.set_setting("Comfy.Locale", "en")
        front_end.open()


@pytest.mark.parametrize(
    ("language", "word", "measured"), [("zh", "狂野", "测得"), ("ja", "激しい", "実測")]
)
def test_words_are_in_the_front_ends_language(front_end, screenshot, language, word, measured):
    page = front_end.page
    named = front_end.page.evaluate(
        """([id, label]) => {
            const graph = app.graph.serialize()
            const node = graph.nodes.find(node => node.id == id)
            node.inputs.find(({ name }) => name === "motion_intensity").label = label
            return graph
        }""",
        [SAMPLER, "wild · speed"],
    )
    definitions = json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))
    title = definitions["LivePhotoSampler"]["display_name"]
    with in_language(front_end, language):
        assert page.evaluate("LiteGraph.createNode('LivePhotoSampler').title") == title
        front_end.load_api_workflow(short_demo())
        front_end.set_widget(SAMPLER, "motion_intensity", 10)
        assert page.evaluate(LABEL, SAMPLER).startswith(f"{word} · ")
        send_measured(front_end, {"level": 3, "ssim": 0.9, "asked": None})
        front_end.wait_for_text(MEASURE, MEASURED, f"{measured} 3 (SSIM 0.9000)")
        screenshot(language)
        # A name that the user gave the slider in English.
        front_end.load_workflow(named)
        front_end.set_widget(SAMPLER, "motion_intensity", 10)
        assert page.evaluate(LABEL, SAMPLER) == f"{word} · speed"


def send_measured(front_end, measured):
    front_end.page.evaluate(
        "([id, output]) => app.graph.getNodeById(id).onExecuted(output)",
        [MEASURE, {MEASURED: [json.dumps(measured)]}],
    )


def test_measured_level_stands_beside_the_one_asked_for(front_end):
    asked = {"node": SAMPLER, "motion_intensity": 7}
    send_measured(front_end, {"level": 5, "ssim": 0.5, "asked": asked})
    assert front_end.shown_text(MEASURE, MEASURED) == "asked 7, measured 5 (SSIM 0.5000)"
    assert front_end.shown_text(SAMPLER, MEASURED) == "asked 7, measured 5"


def test_apply_livephoto_has_words_too(opened):
    workflow = json.loads((WORKFLOWS / "api" / "ksampler.json").read_text())
    opened.front_end.load_api_workflow(workflow)
    [node] = [key for key, node in workflow.items() if node["class_type"] == "ApplyLivePhoto"]
    assert opened.front_end.page.evaluate(LABEL, node).endswith(" · motion_intensity")


def test_run_shows_progress_loop_chart_and_measured_level_and_saves_none_of_them(
    front_end, screenshot
):
    page = front_end.page
    front_end.set_widget(SAMPLER, "control_after_generate", "fixed")
    before, inputs_before = page.evaluate(SAVED_VALUES, SAMPLER), our_inputs(front_end)
    page.evaluate(NOTE_MESSAGES)
    assert run(front_end)["type"] == "execution_success"
    assert set(page.evaluate("previews")) == {SAMPLER}
    states = [nodes[SAMPLER] for nodes in page.evaluate("progress") if SAMPLER in nodes]
    steps = {state["value"] for state in states if state["max"] == 3}
    assert 3 in steps and steps <= {0, 1, 2, 3}
    page.wait_for_function(f"{CANVAS}?.width === 8")
    canvas = page.evaluate_handle(CANVAS)
    assert page.evaluate(PICTURES, [canvas, 3, 100]) == 3

    on_measure = front_end.wait_for_text(MEASURE, MEASURED, "asked 6, measured ")
    assert "SSIM" in on_measure and "general" not in on_measure
    assert on_measure.startswith(front_end.shown_text(SAMPLER, MEASURED))
    # The front end loads pictures of nodes that are in view.
    show_nodes(front_end, SAMPLER, MEASURE, REFERENCE)
    page.wait_for_function(HAS_PICTURE, arg=[MEASURE, 640, 320])
    page.wait_for_function(HAS_PICTURE, arg=[REFERENCE, 64, 64])
    screenshot("measured")

    assert page.evaluate(SAVED_VALUES, SAMPLER) == before
    assert our_inputs(front_end) == inputs_before
    saved = page.evaluate("app.graph.serialize()")
    front_end.load_workflow(saved)
    assert page.evaluate(SAVED_VALUES, SAMPLER) == before
    assert our_inputs(front_end) == inputs_before


def test_loop_plays_while_the_sampler_runs(front_end, screenshot):
    page = front_end.page
    front_end.set_widget(SAMPLER, "steps", 1000)
    show_nodes(front_end, SAMPLER, MEASURE)
    page.evaluate(f"() => {{ window.ended = ({RUN})() }}")
    page.wait_for_function(f"{CANVAS}?.width === 8")
    screenshot("loop")
    requests.post(f"{front_end.url}/interrupt", json={}, timeout=60).raise_for_status()
    assert page.evaluate("window.ended")["type"] == "execution_interrupted"


def test_crop_has_the_size_of_the_video(front_end, screenshot):
    scaled = {"upscale_method": "nearest-exact", "width": 200, "height": 100, "crop": "disabled"}
    reference = {**DEMO[REFERENCE]["inputs"], "image": ["20", 0], "width": 96, "height": 64}
    front_end.load_api_workflow(
        {
            "1": DEMO["1"],
            LOADER: DEMO[LOADER],
            "20": {"class_type": "ImageScale", "inputs": {"image": ["1", 4], **scaled}},
            REFERENCE: {"class_type": "ReferenceEncode", "inputs": reference},
            "21": {"class_type": "PreviewImage", "inputs": {"images": [REFERENCE, 1]}},
        }
    )
    show_nodes(front_end, REFERENCE)
    assert run(front_end)["type"] == "execution_success"
    front_end.page.wait_for_function(HAS_PICTURE, arg=[REFERENCE, 96, 64])
    screenshot("crop")


CLIP = {"node": SAMPLER, "num_frames": 2, "width": 4, "height": 4, "seconds": 1}
SEND_PREVIEW = """detail => {
    detail.strip ??= Object.assign(document.createElement("canvas"), detail).toDataURL()
    app.api.dispatchEvent(new CustomEvent("livephoto.preview", { detail }))
    const node = app.graph.getNodeById(detail.node)
    return [node.size[1], node.computeSize()[1]]
}"""


def test_sampler_makes_room_for_the_loop_at_once(front_end):
    height, needed = front_end.page.evaluate(SEND_PREVIEW, CLIP)
    assert height >= needed


def test_broken_picture_of_a_preview_leaves_the_last(front_end):
    page = front_end.page
    page.evaluate(SEND_PREVIEW, CLIP)
    page.wait_for_function(f"{CANVAS}?.width === 4")
    page.evaluate(SEND_PREVIEW, {**CLIP, "strip": "data:image/png;base64,AAAA", "width": 16})
    # One that comes after it is shown after it.
    page.evaluate(SEND_PREVIEW, {**CLIP, "height": 2})
    page.wait_for_function(f"{CANVAS}.height === 2")
    assert page.evaluate(f"{CANVAS}.width") == 4
    assert [text for text in front_end.console_messages if "decoded" in text] == []


def test_measured_level_comes_back_with_the_tab(front_end):
    assert run(front_end)["type"] == "execution_success"
    text = front_end.wait_for_text(MEASURE, MEASURED, "asked 6, measured ")
    front_end.execute("Comfy.NewBlankWorkflow")
    front_end.page.wait_for_function("() => app.graph.nodes.length === 0")
    front_end.execute("Workspace.PreviousOpenedWorkflow")
    front_end.page.wait_for_function("() => app.graph.nodes.length > 0")
    assert front_end.wait_for_text(MEASURE, MEASURED, "asked 6, measured ") == text
    assert text.startswith(front_end.shown_text(SAMPLER, MEASURED))


def test_measured_level_is_of_the_asked_one_of_the_run_behind_a_reroute(front_end):
    front_end.set_widget(SAMPLER, "motion_intensity", 3.5)
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
    front_end.wait_for_text(SAMPLER, MEASURED, "asked 3.5, measured ")


def test_level_without_a_file_is_said_to_be_of_the_general_scale(front_end):
    front_end.page.evaluate(
        "id => { const node = app.graph.getNodeById(id);"
        " node.disconnectInput(node.findInputSlot('livephoto')) }",
        MEASURE,
    )
    assert run(front_end)["type"] == "execution_success"
    front_end.wait_for_text(MEASURE, MEASURED, " on the general scale (SSIM ")
    assert front_end.shown_text(SAMPLER, MEASURED).endswith(" on the general scale")


def test_old_measure_goes_when_the_sampler_runs_again(front_end):
    assert run(front_end)["type"] == "execution_success"
    front_end.wait_for_text(SAMPLER, MEASURED, "measured ")
    front_end.page.evaluate(
        "id => app.api.dispatchEvent(new CustomEvent('executing', { detail: id }))", SAMPLER
    )
    assert front_end.shown_text(SAMPLER, MEASURED) is None


def test_frames_of_a_photo_show_only_the_measured_level(front_end):
    workflow = {
        "1": DEMO["1"],
        "2": {"class_type": "RepeatImageBatch", "inputs": {"image": ["1", 4], "amount": 3}},
        MEASURE: {"class_type": "MotionIntensity", "inputs": {"images": ["2", 0]}},
        "13": {"class_type": "PreviewImage", "inputs": {"images": [MEASURE, 3]}},
    }
    front_end.load_api_workflow(workflow)
    assert run(front_end)["type"] == "execution_success"
    text = front_end.wait_for_text(MEASURE, MEASURED, "measured")
    assert text == "measured 1 (SSIM 1.0000)"


def test_loop_stops_with_its_node(front_end):
    page = front_end.page
    assert run(front_end)["type"] == "execution_success"
    page.wait_for_function(f"{CANVAS}?.width === 8")
    canvas = page.evaluate_handle(CANVAS)
    assert page.evaluate(PICTURES, [canvas, 3, 100]) == 3
    page.evaluate("app.graph.remove(app.graph.getNodeById(7))")
    assert page.evaluate(PICTURES, [canvas, 3, 10]) == 1


def test_no_loop_where_previews_are_off(front_end):
    front_end.show_previews("none")
    assert run(front_end)["type"] == "execution_success"
    assert front_end.page.evaluate(f"!{CANVAS}")


def test_sampler_is_found_by_what_an_artist_calls_it(front_end, screenshot):
    page = front_end.page
    front_end.load_api_workflow({})

    def search() -> None:
        open_search(page)
        page.keyboard.type("i2v", delay=20)
        page.get_by_text("LivePhoto Sampler").first.wait_for(timeout=TRY_TIMEOUT_MS)

    try_again(search)
    screenshot("search")
    page.keyboard.press("Escape")


@pytest.mark.parametrize(
    ("node", "inputs", "where", "sentence"),
    [
        ("6", {"frames": 8}, SAMPLER, "Set frames of Text Reweight to 16."),
        (REFERENCE, {"clip_vision": None}, REFERENCE, "was trained with content tokens of"),
        (LOADER, {"file": "pia.ckpt"}, LOADER, "pia.ckpt is empty"),
    ],
)
def test_wrong_wiring_is_explained(front_end, screenshot, node, inputs, where, sentence):
    workflow = short_demo()
    workflow[node]["inputs"] |= inputs
    workflow[node]["inputs"] = {k: v for k, v in workflow[node]["inputs"].items() if v is not None}
    front_end.load_api_workflow(workflow)
    failed = run(front_end)
    assert failed["type"] == "execution_error"
    assert failed["node_id"] == where
    front_end.wait_for_text(where, REASON, sentence)
    show_nodes(front_end, where)
    screenshot(f"wrong_wiring_{where}")
    front_end.set_widget("6", "frames", 16)
    run(front_end)
    assert (front_end.shown_text(where, REASON) is None) == (where == SAMPLER)


def test_error_of_another_pack_is_not_ours_to_explain(front_end):
    inputs = {"string": "a", "regex_pattern": "(", "replace": ""}
    workflow = {
        "1": {"class_type": "RegexReplace", "inputs": inputs},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    front_end.load_api_workflow(workflow)
    assert run(front_end)["type"] == "execution_error"
    assert front_end.shown_text("1", REASON) is None
