"""The words on TextReweight: shown as the server sent them, and set by dragging."""

from __future__ import annotations

import itertools
import json

import pytest
from playwright.sync_api import expect

from harness.server import PACK_FOLDER_NAME
from tests.browser.front_end import TRY_TIMEOUT_MS, WIDGET, try_again
from tests.browser.queueing import queue
from tests.comfyui.reweighting import REWEIGHT as NODE
from tests.comfyui.reweighting import reweighting_workflow, with_unknown_sentence

pytestmark = pytest.mark.browser

WORDS = ["a", "red", "heart", "moves", "right"]
ZOOM = 2
NEGATIVE = "9"
RUNS = itertools.count()

# Double size, with the node at the left top of the window, clear of the front end's menus.
SHOW_NODE = """
scale => {
    const node = app.canvas.graph.nodes.find(node => node.type === 'TextReweight')
    node.setSize([360, node.size[1]])
    app.canvas.ds.scale = scale
    app.canvas.ds.offset = [150 - node.pos[0], 120 - node.pos[1]]
    app.canvas.setDirty(true, true)
}
"""
OVERRIDES = f"id => ({WIDGET})([id, 'overrides'])"
# Of the words: the contrast of their text with the shade on the background (WCAG 2).
CONTRASTS = """
words => words.map(word => {
    const channels = element => property =>
        getComputedStyle(element)[property].match(/[\\d.]+/g).map(Number)
    const [shade, text] = ['backgroundColor', 'color'].map(channels(word))
    const below = channels(word.closest('.content'))('backgroundColor')
    const linear = c => c <= 10 ? c / 3295 : ((c / 255 + 0.055) / 1.055) ** 2.4
    const luminance = ([r, g, b]) =>
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    const alpha = shade[3] ?? 1
    const seen = below.slice(0, 3).map((c, i) => c + (shade[i] - c) * alpha)
    const [high, low] = [luminance(text), luminance(seen)].sort((a, b) => b - a)
    return (high + 0.05) / (low + 0.05)
})
"""


class Words:
    """The node in an opened front end."""

    def __init__(self, front_end):
        self.front_end = front_end
        self.page = front_end.page
        self.element = self.page.locator(".livephoto-words")

    def load(self, api_workflow):
        """Loads a workflow, with a new negative: ComfyUI 0.18 shows nothing of the cache."""
        encode = {"text": f"not this {next(RUNS)}", "clip": ["1", 1]}
        api_workflow[NEGATIVE] = {"class_type": "CLIPTextEncode", "inputs": encode}
        api_workflow[NODE]["inputs"]["negative"] = [NEGATIVE, 0]
        self.show(api_workflow)

    def show(self, api_workflow):
        self.front_end.load_api_workflow(api_workflow)
        self.page.evaluate(SHOW_NODE, ZOOM)
        expect(self.element).to_be_visible()

    def load_and_run(self, **inputs):
        self.load(reweighting_workflow(**inputs))
        run = queue(self.front_end)
        expect(self.element.locator(".word")).to_have_count(
            len(run.outputs[NODE]["livephoto_words"])
        )
        self.settle()
        return run

    def settle(self):
        """Waits some frames, until page elements have followed the canvas."""
        self.page.wait_for_timeout(500)

    def word(self, text):
        return self.element.locator(".word", has=self.page.get_by_text(text, exact=True)).first

    def texts(self, part):
        return self.element.locator(f".word .{part}").all_text_contents()

    def weights(self):
        return dict(zip(self.texts("text"), map(float, self.texts("weight")), strict=True))

    def overrides(self):
        return self.page.evaluate(f"id => ({OVERRIDES})(id).value", NODE)

    def set_words(self):
        return self.element.locator(".word.set .text").all_text_contents()

    def caption(self):
        return self.element.locator(".caption")

    def drag(self, word, right_px, down_px):
        """Drags a word from its middle, by screen pixels."""
        # Where it stands still and nothing lies over it.
        self.word(word).hover()
        box = self.word(word).bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.page.mouse.down()
        self.page.mouse.move(x + right_px, y + down_px, steps=5)
        self.page.mouse.up()


@pytest.fixture
def shown(opened):
    """The node in a front end."""
    return Words(opened.front_end)


def mean(frames):
    return sum(frames) / len(frames)


def test_words_and_weights_are_those_the_server_sent(shown, screenshot):
    shown.load(reweighting_workflow())
    expect(shown.caption()).to_have_text("Run once to see the weight of every word.")
    run = shown.load_and_run()
    sent = run.outputs[NODE]
    assert sent["livephoto_words"] == WORDS == shown.texts("text")
    means = [mean(frames) for frames in sent["livephoto_predicted"]]
    assert shown.texts("weight") == [f"{weight:.2f}" for weight in means]
    largest = WORDS[means.index(max(means))]
    assert shown.element.locator(".largest .text").all_text_contents() == [largest]
    underlined = shown.element.locator(".text").evaluate_all(
        "texts => texts.filter(text => getComputedStyle(text).textDecorationLine === 'underline')"
        ".map(text => text.textContent)"
    )
    assert underlined == [largest]
    screenshot("words")


@pytest.mark.parametrize(
    ("overrides", "set_weights"), [("red:2, heart:0", {"red": 2.0, "heart": 0.0}), ("", {})]
)
def test_shades_are_in_proportion_to_the_weights(shown, overrides, set_weights):
    sent = shown.load_and_run(overrides=overrides).outputs[NODE]
    alphas = shown.element.locator(".word").evaluate_all(
        "words => words.map(word => getComputedStyle(word).backgroundColor)"
        ".map(colour => Number(colour.match(/[\\d.]+/g)[3] ?? 1))"
    )
    # As sent: the two decimals that the node shows are coarse where all weights are small.
    predicted = dict(zip(WORDS, map(mean, sent["livephoto_predicted"]), strict=True))
    weights = {**predicted, **set_weights}
    expected = [0.6 * weights[word] / max(weights.values()) for word in WORDS]
    assert alphas == pytest.approx(expected, abs=0.01)


def test_prompt_and_saved_workflow_hold_the_inputs_and_nothing_of_the_display(shown):
    run = shown.load_and_run(overrides="heart:0.5")
    sent = reweighting_workflow(overrides="heart:0.5")[NODE]["inputs"]
    assert run.prompt[NODE]["inputs"] == sent | {"negative": [NEGATIVE, 0]}
    saved = shown.page.evaluate("id => app.graph.getNodeById(id).serialize().widgets_values", NODE)
    assert saved == [16, "heart:0.5", 1, ""]


def test_pointer_over_a_word_shows_its_frames(shown, screenshot):
    run = shown.load_and_run()
    chart = shown.element.locator(".frames")
    expect(chart).to_be_hidden()
    shown.word("moves").hover()
    expect(chart).to_be_visible()
    _, _, num_frames, top = map(float, chart.get_attribute("viewBox").split())
    assert (num_frames, top) == (16, 1)
    steps = chart.locator("path").get_attribute("d").split("V")[1:-1]
    drawn = [(1 - float(height), int(right)) for height, right in (s.split("H") for s in steps)]
    frames = run.outputs[NODE]["livephoto_predicted"][WORDS.index("moves")]
    assert [right for _, right in drawn] == [*range(1, 17)]
    assert [weight for weight, _ in drawn] == pytest.approx(frames)
    low, high, average = min(frames), max(frames), mean(frames)
    expect(shown.caption()).to_have_text(
        f"moves: {low:.2f} to {high:.2f}, mean {average:.2f}, 16 frames"
    )
    screenshot("words_frames")
    shown.page.mouse.move(1800, 1200)
    expect(chart).to_be_hidden()


def test_dragged_weight_is_what_the_next_run_uses(shown, screenshot):
    before = shown.load_and_run(overrides="red:0.5")
    start = shown.weights()["moves"]
    shown.drag("moves", 60, 0)
    weight = round(mean(before.outputs[NODE]["livephoto_used"][3]) + 0.6, 2)
    assert weight > start + 0.5
    assert shown.overrides() == f"red:0.5, moves:{weight:g}"
    assert shown.weights()["moves"] == weight and shown.set_words() == ["red", "moves"]
    after = queue(shown.front_end)
    assert after.prompt[NODE]["inputs"]["overrides"] == f"red:0.5, moves:{weight:g}"
    used = after.outputs[NODE]["livephoto_used"]
    assert used[3] == [weight] * 16 and used[1] == [0.5] * 16
    assert used[4] == before.outputs[NODE]["livephoto_used"][4]
    assert shown.weights()["moves"] == weight
    screenshot("words_dragged")


def test_up_is_more_down_is_less_and_zero_is_the_end(shown):
    shown.load_and_run(overrides="heart:1")
    shown.drag("heart", 0, -25)
    assert shown.overrides() == "heart:1.25"
    shown.drag("heart", 0, 50)
    assert shown.overrides() == "heart:0.75"
    shown.drag("heart", -90, 0)
    assert shown.overrides() == "heart:0"


def test_click_changes_nothing_and_double_click_gives_the_word_back(shown):
    run = shown.load_and_run(overrides="red:0.5, heart:1.5")
    shown.word("moves").click()
    shown.word("heart").click()
    assert shown.overrides() == "red:0.5, heart:1.5"
    shown.word("heart").dblclick()
    assert shown.overrides() == "red:0.5" and shown.set_words() == ["red"]
    predicted = mean(run.outputs[NODE]["livephoto_predicted"][WORDS.index("heart")])
    assert shown.texts("weight")[WORDS.index("heart")] == f"{predicted:.2f}"


def test_keys_change_the_weight_of_the_focused_word(shown):
    shown.load_and_run(overrides="heart:1")
    heart = shown.word("heart")
    shown.word("red").focus()
    shown.page.keyboard.press("Tab")
    expect(heart).to_be_focused()
    expect(shown.caption()).to_have_text("heart: set to 1 in all frames")
    for key in ("ArrowUp", "ArrowRight", "ArrowRight", "ArrowDown"):
        shown.page.keyboard.press(key)
    assert shown.overrides() == "heart:1.1"
    assert heart.get_attribute("aria-label") == "heart"
    assert heart.get_attribute("aria-valuetext") == "1.10, set by hand"
    # The front end deletes a selected node with this key; a click on a word selects its node.
    heart.click()
    shown.page.keyboard.press("Delete")
    assert shown.overrides() == "" and shown.set_words() == []
    assert shown.page.evaluate("id => app.graph.getNodeById(id)?.type", NODE) == "TextReweight"


def test_typed_overrides_show_on_the_words(shown):
    shown.load_and_run()
    x, y = shown.page.evaluate(
        f"""id => {{
            const node = app.graph.getNodeById(id)
            const {{offset, scale}} = app.canvas.ds
            const widget = ({OVERRIDES})(id)
            const place = [node.pos[0] + node.size[0] / 2, node.pos[1] + widget.last_y + 10]
            const corner = app.canvas.canvas.getBoundingClientRect()
            return [
                corner.x + (place[0] + offset[0]) * scale,
                corner.y + (place[1] + offset[1]) * scale,
            ]
        }}""",
        NODE,
    )
    field = shown.page.locator(".graphdialog input")

    def open_field() -> None:
        shown.page.mouse.dblclick(x, y)
        field.wait_for(timeout=TRY_TIMEOUT_MS)

    try_again(open_field)
    field.fill("HEART:1.25, wave:2")
    field.press("Enter")
    assert shown.overrides() == "HEART:1.25, wave:2"
    assert shown.weights()["heart"] == 1.25 and shown.set_words() == ["heart"]
    expect(shown.element.locator(".warning")).to_contain_text("wave:2")


def test_undo_takes_a_drag_back(shown):
    shown.load_and_run(overrides="heart:1")
    shown.drag("heart", 50, 0)
    assert shown.overrides() == "heart:1.5"
    shown.settle()

    def undo() -> None:
        shown.page.keyboard.press("Control+z")
        is_undone = f"id => ({OVERRIDES})(id).value === 'heart:1'"
        shown.page.wait_for_function(is_undone, arg=NODE, timeout=TRY_TIMEOUT_MS)

    try_again(undo)
    expect(shown.word("heart").locator(".weight")).to_have_text("1.00")
    assert shown.texts("text") == WORDS


def test_every_occurrence_and_spelling_of_a_word_is_one(shown):
    run = shown.load_and_run(sentence="Waves, waves: HIGH", overrides="HIGH:0.5, : :2")
    words = ["waves", ",", "waves", ":", "high"]
    assert run.outputs[NODE]["livephoto_words"] == words == shown.texts("text")
    assert shown.set_words() == [":", "high"]
    before = mean(run.outputs[NODE]["livephoto_predicted"][0])
    shown.drag("waves", 0, -40)
    weight = f"{before + 0.4:.2f}".rstrip("0").rstrip(".")
    assert shown.overrides() == f"HIGH:0.5, : :2, waves:{weight}"
    assert shown.set_words() == ["waves", "waves", ":", "high"]
    shown.drag(",", 0, -40)
    shown.drag(":", 0, 40)
    assert shown.overrides() == f"HIGH:0.5, ::1.6, waves:{weight}"
    used = queue(shown.front_end).outputs[NODE]["livephoto_used"]
    assert [frames[0] for frames in used[2:]] == pytest.approx([float(weight), 1.6, 0.5])


def test_linked_overrides_are_shown_and_cannot_be_dragged(shown):
    linked = reweighting_workflow(overrides=["6", 0])
    linked["6"] = {"class_type": "PrimitiveString", "inputs": {"value": "red:0.25"}}
    shown.load(linked)
    queue(shown.front_end)
    expect(shown.word("red").locator(".weight")).to_have_text("0.25")
    expect(shown.caption()).to_have_text("Weights come from the linked input.")
    shown.settle()
    assert shown.set_words() == ["red"]
    shown.drag("red", 50, 0)
    assert shown.weights()["red"] == 0.25
    assert queue(shown.front_end).prompt[NODE]["inputs"]["overrides"] == ["6", 0]


def test_words_of_an_unknown_sentence_make_place_for_a_hint(shown):
    shown.load_and_run()
    shown.load(with_unknown_sentence(reweighting_workflow()))
    queue(shown.front_end)
    expect(shown.element.locator(".word")).to_have_count(0)
    expect(shown.caption()).to_contain_text("write the sentence into text")


def test_words_come_from_the_cache_too(shown, opened):
    shown.load_and_run()
    # A node that the front end knows no words of; for ComfyUI it is the one that has run.
    other = "40"
    run_before = shown.front_end.api_workflow()
    renamed = json.loads(json.dumps(run_before).replace(f'"{NODE}"', f'"{other}"'))
    shown.show(renamed)
    expect(shown.element.locator(".word")).to_have_count(0)
    outputs = queue(shown.front_end).outputs
    # ComfyUI 0.18 sends nothing of a run that is wholly in its cache; then the hint stays.
    sends_again = "has_intermediate_output" in opened.object_info["TextReweight"]
    assert (other in outputs) == sends_again
    expect(shown.element.locator(".word")).to_have_count(len(WORDS) if sends_again else 0)


def test_words_in_a_subgraph_come_back_with_the_workflow(shown):
    shown.load(reweighting_workflow())
    graph = shown.page.evaluate(
        "id => {app.graph.convertToSubgraph(new Set([app.graph.getNodeById(id)]));"
        "return JSON.parse(JSON.stringify(app.graph.serialize()))}",
        NODE,
    )
    queue(shown.front_end)
    outputs = shown.page.evaluate("app.nodeOutputs")
    shown.front_end.load_workflow(graph)
    # As the front end does when a workflow that ran is shown again.
    shown.page.evaluate("outputs => {app.nodeOutputs = outputs}", outputs)
    shown.page.evaluate("app.canvas.setGraph([...app.graph.subgraphs.values()].at(-1))")
    try:
        shown.page.evaluate(SHOW_NODE, ZOOM)
        expect(shown.word("heart")).to_be_visible()
        assert shown.texts("text") == WORDS
    finally:
        shown.page.evaluate("app.canvas.setGraph(app.graph)")


def test_wheel_and_middle_button_move_the_canvas(shown):
    shown.load_and_run()
    shown.word("heart").hover()
    shown.page.mouse.wheel(0, -100)
    shown.page.wait_for_function(f"app.canvas.ds.scale > {ZOOM}")
    left = shown.page.evaluate("app.canvas.ds.offset[0]")
    shown.word("heart").hover()
    shown.page.mouse.down(button="middle")
    shown.page.mouse.move(900, 700, steps=5)
    shown.page.mouse.up(button="middle")
    shown.page.wait_for_function(f"app.canvas.ds.offset[0] > {left + 100}")
    assert shown.overrides() == ""


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_text_is_readable_on_every_shade(shown, palette, screenshot):
    shown.load_and_run(overrides="red:2, heart:0, moves:1.2")
    with shown.front_end.setting("Comfy.ColorPalette", palette):
        shown.settle()
        contrasts = shown.element.locator(".word").evaluate_all(CONTRASTS)
        screenshot(f"words_{palette}")
    # 4.5 is WCAG's level AA for small text.
    assert len(contrasts) == len(WORDS) and min(contrasts) > 4.5


def test_words_can_be_dragged_in_vue_nodes(shown, screenshot):
    shown.load_and_run(overrides="heart:1")
    with shown.front_end.setting("Comfy.VueNodes.Enabled", True):
        expect(shown.page.locator(".lg-node").first).to_be_visible()
        shown.settle()
        shown.drag("heart", 50, 0)
        screenshot("words_vue")
        assert shown.overrides() == "heart:1.5"
        assert shown.weights()["heart"] == 1.5


READING = [
    ("", {}),
    ("waving:1.5, Dinosaur:.2,", {"waving": 1.5, "dinosaur": 0.2}),
    ("waving : 2\nhand:0", {"waving": 2, "hand": 0}),
    ("a b:1e-1", {"a b": 0.1}),
    ("::2", {":": 2}),
    ("waving, waving:, :1, waving:much, waving:-1, waving:0x2", {}),
    ("waving:1, Waving:2", {"waving": 2}),
]

WRITING = [
    ("", "waving", 1.5, "waving:1.5"),
    ("a:1, waving:2, b:3", "waving", 0.333333, "a:1, waving:0.33, b:3"),
    ("Waving:2\nb : 3, waving:1", "waving", 1, "waving:1, b : 3"),
    ("broken, a:1", "waving", -1, "broken, a:1, waving:0"),
    ("a:1, Waving:2, b:3", "waving", None, "a:1, b:3"),
    ("a:1", "waving", None, "a:1"),
    ("STRASSE:2", "straße", 1, "straße:1"),
]


def call(front_end, function, *values):
    return front_end.page.evaluate(
        """async ([pack, name, values]) => {
            const module = await import(`/extensions/${pack}/word_overrides.js`)
            const result = module[name](...values)
            return result instanceof Map ? Object.fromEntries(result) : result
        }""",
        [PACK_FOLDER_NAME, function, values],
    )


def test_text_of_overrides_is_read_as_the_node_reads_it(opened):
    for text, read in READING:
        assert call(opened.front_end, "readOverrides", text) == read, text


def test_one_entry_is_written_and_the_others_stay_as_typed(opened):
    for text, word, weight, written in WRITING:
        assert call(opened.front_end, "writeOverride", text, word, weight) == written, text
