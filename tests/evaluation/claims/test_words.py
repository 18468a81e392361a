"""Word weights of known sentences."""

from __future__ import annotations

import pytest
import torch

from livephoto_core.comfyui.text import WordWeights
from livephoto_core.evaluation.claims.words import (
    WordWeight,
    average_words,
    mean_weights,
    words_table,
)
from livephoto_core.shapes.captions import MOTION_WORDS, VOCABULARY, word_kinds, words


def sentence(**weights) -> WordWeights:
    predicted = torch.tensor(list(weights.values())).T
    return WordWeights(list(weights), predicted, predicted)


def test_in_tells_motion_only_after_a_word_of_zooming():
    said = words("A circle in red, the camera zooms in")
    kinds = dict(enumerate(word_kinds(said)))
    assert [kinds[i] for i, word in enumerate(said) if word == "in"] == ["function", "motion"]
    assert word_kinds(words("the camera is zooming in"))[-1] == "motion"
    assert "in" not in MOTION_WORDS and "in" in VOCABULARY


def test_every_word_is_of_one_kind():
    said = words("a red circle on clouds moving left")
    assert word_kinds(said) == [
        "function",
        "content",
        "content",
        "function",
        "content",
        "motion",
        "motion",
    ]


def test_words_are_averaged_over_sentences_per_frame():
    found = average_words(
        [sentence(red=[0.25, 0.75], moves=[1.0, 0.5]), sentence(red=[0.5, 0.5], left=[0.0, 1.0])]
    )
    assert found == [
        WordWeight("left", "motion", 1, 0.5, [0.0, 1.0]),
        WordWeight("moves", "motion", 1, 0.75, [1.0, 0.5]),
        WordWeight("red", "content", 2, 0.5, [0.375, 0.625]),
    ]


def test_word_that_tells_two_things_is_there_twice():
    weights = torch.tensor([[0.5, 0.25, 0.75, 1.0]])
    told = WordWeights(["circle", "in", "zooms", "in"], weights, weights)
    found = {(word.word, word.kind): word.mean for word in average_words([told])}
    assert found["in", "function"] == 0.25 and found["in", "motion"] == 1.0


def test_punctuation_is_no_word():
    assert [word.word for word in average_words([sentence(**{",": [0.5], "red": [0.5]})])] == [
        "red"
    ]


def test_kinds_are_averaged_by_how_often_their_words_were_said():
    means = mean_weights(
        [
            WordWeight("moves", "motion", 3, 0.75, []),
            WordWeight("left", "motion", 1, 0.25, []),
            WordWeight("red", "content", 1, 0.5, []),
            WordWeight("a", "function", 1, 0.125, []),
        ]
    )
    assert means == {"motion": pytest.approx(0.625), "content": 0.5, "function": 0.125}


def test_table_begins_with_the_weight_of_an_untrained_re_weighting():
    table = words_table({"full": {"motion": 0.8, "content": 0.3, "function": 0.5}}).splitlines()
    assert table[0] == "| checkpoint | motion words | content words | function words |"
    assert table[2] == "| untrained | 0.980 | 0.980 | 0.980 |"
    assert table[3] == "| full | 0.800 | 0.300 | 0.500 |"
