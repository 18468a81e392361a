"""Re-weighting CONDITIONING, with ComfyUI's own tokenizer."""

from __future__ import annotations

import comfy.sd1_clip
import pytest
import torch
from comfy_execution.graph import DynamicPrompt

from livephoto_core.comfyui.prompt_words import prompt_words
from livephoto_core.comfyui.text import parse_overrides, reweight_conditioning
from livephoto_core.comfyui.upstream import traced_text
from tests.comfyui.reweighting import REWEIGHT, reweighting_workflow, with_unknown_sentence
from tests.comfyui.tiny_models import ANIMATEDIFF_V1, FULL, random_text, tiny_livephoto

SENTENCE = "A little dinosaur, waving (its:1.2) hand"


@pytest.fixture(scope="module")
def without_reweighting():
    return tiny_livephoto(ANIMATEDIFF_V1)


@pytest.fixture(scope="module")
def with_reweighting():
    return tiny_livephoto(FULL)


def test_words_cover_exactly_the_tokens_of_the_sentence():
    words = prompt_words(SENTENCE)
    assert words.words == ["a", "little", "dinosaur", ",", "waving", "its", "hand"]
    chunk = comfy.sd1_clip.SD1Tokenizer().tokenize_with_weights(SENTENCE)["l"][0]
    is_word = [token not in (49406, 49407) for token, _ in chunk]
    assert [word >= 0 for word in words.token_words] == is_word
    assert len(words.token_words) == 77


def test_words_of_several_tokens_and_other_scripts_stay_whole():
    words = prompt_words("flibbertigibbety 手を振る")
    assert words.words[0] == "flibbertigibbety"
    assert words.token_words.count(0) > 1
    assert "".join(words.words[1:]) == "手を振る"


def test_long_prompts_have_a_token_word_for_every_chunk():
    assert len(prompt_words("waving " * 100).token_words) == 2 * 77


def test_word_that_two_chunks_share_stays_whole():
    # ComfyUI cuts a segment of eight tokens or more where the chunk is full, also within a word.
    words = prompt_words("a " * 70 + "(supercalifragilisticexpialidocious:1)").words
    assert words[-1] == "supercalifragilisticexpialidocious" and words[:-1] == ["a"] * 70


def test_overrides_scale_the_tokens_of_the_word_and_no_others(without_reweighting):
    positive = random_text()
    weighted, shown = reweight_conditioning(
        without_reweighting,
        positive,
        num_frames=4,
        overrides="Waving:1.5, dinosaur:0.2",
        text=SENTENCE,
    )
    words = shown.words
    tokens, scaled = positive[0][0], weighted[0][0]
    ids = torch.tensor(prompt_words(SENTENCE).token_words)
    expected = torch.ones(77)
    expected[ids == words.index("waving")] = 1.5
    expected[ids == words.index("dinosaur")] = 0.2
    torch.testing.assert_close(scaled, tokens * expected.view(1, -1, 1))
    assert shown.predicted.tolist() == [[1.0] * len(words)]
    assert shown.used.tolist() == [pytest.approx([1, 1, 0.2, 1, 1.5, 1, 1])]


def test_without_module_and_overrides_the_text_is_bit_identical(without_reweighting):
    positive = random_text()
    weighted, shown = reweight_conditioning(without_reweighting, positive, num_frames=4)
    assert torch.equal(weighted[0][0], positive[0][0]) and shown is None


def test_module_weighs_every_frame(with_reweighting):
    positive = random_text()
    weighted, shown = reweight_conditioning(with_reweighting, positive, num_frames=6, text=SENTENCE)
    tokens, scaled = positive[0][0], weighted[0][0]
    assert scaled.shape == (6, 77, 64)
    assert not torch.equal(scaled[0], scaled[5])
    # All words of this sentence are single tokens: each has the weight its token was scaled by.
    ids = prompt_words(SENTENCE).token_words
    at = [ids.index(word) for word in range(len(shown.words))]
    torch.testing.assert_close(shown.used, (scaled / tokens)[:, at].mean(dim=-1))
    assert torch.equal(shown.used, shown.predicted)


def test_override_leaves_the_prediction_and_the_other_words_in_every_frame(with_reweighting):
    def shown(overrides):
        return reweight_conditioning(
            with_reweighting, random_text(), num_frames=6, overrides=overrides, text=SENTENCE
        )[1]

    before, after = shown(""), shown("waving:1.5")
    waving = before.words.index("waving")
    expected = before.used.clone()
    expected[:, waving] = 1.5
    torch.testing.assert_close(after.used, expected)
    torch.testing.assert_close(after.predicted, before.used)


def test_strength_zero_leaves_the_text_alone(with_reweighting):
    positive = random_text()
    weighted, _ = reweight_conditioning(with_reweighting, positive, num_frames=6, strength=0)
    assert torch.equal(weighted[0][0], positive[0][0])


def test_options_of_the_conditioning_are_kept_and_the_input_is_not_changed(with_reweighting):
    tokens = random_text()[0][0]
    positive, before = [[tokens, {"pooled_output": tokens[:, 0], "strength": 0.5}]], tokens.clone()
    weighted, _ = reweight_conditioning(with_reweighting, positive, num_frames=3)
    assert weighted[0][1].keys() == positive[0][1].keys()
    assert torch.equal(tokens, before)


def test_unknown_word_names_the_words_there_are(without_reweighting):
    with pytest.raises(ValueError, match="'cat'.*little, dinosaur"):
        reweight_conditioning(
            without_reweighting, random_text(), num_frames=4, overrides="cat:2", text=SENTENCE
        )


def test_overrides_without_a_known_sentence_say_what_to_do(without_reweighting):
    with pytest.raises(ValueError, match="Write the sentence into text"):
        reweight_conditioning(
            without_reweighting, random_text(), num_frames=4, overrides="waving:2"
        )


@pytest.mark.parametrize("name", ["without_reweighting", "with_reweighting"])
def test_text_of_another_encoder_says_which_file_to_choose(name, request):
    livephoto = request.getfixturevalue(name)
    width = livephoto.config.layout.context_dim
    text = [[torch.zeros(1, 77, width + 8), {}]]
    with pytest.raises(ValueError, match=rf"negative: .*{width + 8} wide.*{width}.*Load LivePhoto"):
        reweight_conditioning(livephoto, text, num_frames=2, name="negative")


def test_text_weighted_twice_is_refused_by_the_name_of_the_input(without_reweighting):
    with pytest.raises(ValueError, match="negative: its tokens already differ"):
        reweight_conditioning(
            without_reweighting, random_text(frames=3), num_frames=3, name="negative"
        )


def test_text_weighted_twice_is_refused(without_reweighting):
    with pytest.raises(ValueError, match="directly after the text encoder"):
        reweight_conditioning(without_reweighting, random_text(frames=4), num_frames=4)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", {}),
        ("waving:1.5, dinosaur:.2,", {"waving": 1.5, "dinosaur": 0.2}),
        ("waving : 2\nhand:0", {"waving": 2.0, "hand": 0.0}),
    ],
)
def test_overrides_parse(text, parsed):
    assert parse_overrides(text) == parsed


@pytest.mark.parametrize("text", ["waving", "waving:", ":1", "waving:much"])
def test_unreadable_override_is_named(text):
    with pytest.raises(ValueError, match=f"'{text}' is not a word with a weight"):
        parse_overrides(text)


PROMPT = {
    "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a wave", "clip": ["9", 1]}},
    "2": {"class_type": "PrimitiveString", "inputs": {"value": "a tide"}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"text": ["2", 0], "clip": ["9", 1]}},
    "4": {"class_type": "ConditioningCombine", "inputs": {"a": ["1", 0], "b": ["3", 0]}},
    "8": {"class_type": "LoadTextFile", "inputs": {"file": "prompt_01.txt"}},
    "10": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0], "clip": ["9", 1]}},
    "11": {"class_type": "WildcardEncode", "inputs": {"text": "a {red|blue} dog"}},
    "12": {"class_type": "TextReweight", "inputs": {"positive": ["10", 0]}},
    "13": {"class_type": "TextReweight", "inputs": {"positive": ["11", 0]}},
    "5": {"class_type": "TextReweight", "inputs": {"positive": ["1", 0]}},
    "6": {"class_type": "TextReweight", "inputs": {"positive": ["3", 0]}},
    "7": {"class_type": "TextReweight", "inputs": {"positive": ["4", 0]}},
}


@pytest.mark.parametrize(
    ("node", "text"),
    [("5", "a wave"), ("6", "a tide"), ("7", None), ("12", None), ("13", None)],
)
def test_sentence_is_found_in_the_graph_or_not_guessed(node, text):
    assert traced_text(DynamicPrompt(PROMPT), node, "positive") == text


def test_sentence_is_found_in_what_a_loop_has_added_to_the_graph():
    graph = DynamicPrompt(PROMPT)
    graph.add_ephemeral_node("1.0.1", {**PROMPT["1"], "inputs": {"text": "a storm"}}, "loop", "1")
    weigh = {"class_type": "TextReweight", "inputs": {"positive": ["1.0.1", 0]}}
    graph.add_ephemeral_node("5.0.1", weigh, "loop", "5")
    assert traced_text(graph, "5.0.1", "positive") == "a storm"


def test_no_graph_means_no_sentence():
    assert traced_text(None, "5", "positive") is None


def test_node_sends_the_weights_of_every_word_and_frame(comfyui_server):
    client = comfyui_server.client()
    shown = client.run_workflow(reweighting_workflow(overrides="heart:0.25")).outputs[REWEIGHT]
    assert shown["livephoto_words"] == ["a", "red", "heart", "moves", "right"]
    predicted, used = shown["livephoto_predicted"], shown["livephoto_used"]
    assert [len(frames) for frames in predicted] == [16] * 5
    assert all(0 < weight < 1 for frames in predicted for weight in frames)
    assert predicted == [[round(weight, 3) for weight in frames] for frames in predicted]
    assert used == [predicted[0], predicted[1], [0.25] * 16, predicted[3], predicted[4]]


def test_sentence_of_the_graph_counts_more_than_one_that_was_typed_before(comfyui_server):
    workflow = reweighting_workflow(text="a blue star turns left", overrides="heart:0.25")
    shown = comfyui_server.client().run_workflow(workflow).outputs[REWEIGHT]
    assert shown["livephoto_words"] == ["a", "red", "heart", "moves", "right"]


def test_node_sends_no_words_where_they_are_not_known(comfyui_server):
    other = with_unknown_sentence(reweighting_workflow(text="not what was encoded " * 20))
    shown = comfyui_server.client().run_workflow(other).outputs[REWEIGHT]
    assert shown == {"livephoto_words": [], "livephoto_predicted": [], "livephoto_used": []}
