"""The translations of the pack's nodes, as ComfyUI serves them to its front end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

LOCALES = Path(__file__).parents[2] / "locales"
EXTENSION = Path(__file__).parents[2] / "nodes" / "web"
TRANSLATIONS = ("zh", "ja")
LANGUAGES = ("en", *TRANSLATIONS)

# Names that ComfyUI's own translations leave as they are.
NOT_TRANSLATED = {
    "zh": {"cfg", "clip", "latent", "livephoto", "ssim", "vae"},
    "ja": {"cfg", "clip", "livephoto", "ssim", "vae"},
}

HAN = re.compile(r"[\u4e00-\u9fff]")
KANA = re.compile(r"[\u3041-\u30fa]")

# A call in the extension's scripts, and what stands for a value in its text.
TRANSLATED = re.compile(r'\btranslate\(\s*"([^"]+)"')
VALUE = re.compile(r"\{\w+\}")

# vue-i18n gives these a meaning in names. The front end shows tooltips without compiling them, so
# escapes such as {'@'} would be read as they stand: no text may need one.
SPECIAL = re.compile(r"[@{}|]")

# Folders, numbers, values to choose or to type, and names such as LoRA, NOISE or KSampler.
NOT_WORDS = re.compile(
    r"models/\w+|\d+(?:\.\d+)?"
    r"|\b(?:crop|pad|stretch|proportions|waving|dinosaur|small|base(?! model)|large|giant)\b"
    r"|[A-Za-z]*[A-Z][A-Za-z0-9]*[A-Z](?:[A-Za-z0-9]*[A-Za-rt-z0-9])?",
    re.ASCII,
)

each_language = pytest.mark.parametrize("language", LANGUAGES)
each_translation = pytest.mark.parametrize("language", TRANSLATIONS)


def node_definitions(language: str) -> dict[str, Any]:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def messages(definitions: dict[str, Any], *path: str) -> dict[tuple[str, ...], str]:
    """Where each text lies → the text."""
    found = {}
    for key, value in definitions.items():
        if isinstance(value, dict):
            found |= messages(value, *path, key)
        else:
            found[*path, key] = value
    return found


def schema_messages(node: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """The texts of one node in ComfyUI's /object_info."""
    found = {("display_name",): node["display_name"], ("description",): node["description"]}
    for name, (_, options) in (node["input"].get("required", {}) | optional_inputs(node)).items():
        found["inputs", name, "name"] = options.get("display_name") or name
        found["inputs", name, "tooltip"] = options.get("tooltip")
    outputs = zip(node["output_name"], node["output_tooltips"], strict=True)
    for index, (name, tooltip) in enumerate(outputs):
        found["outputs", str(index), "name"] = name
        found["outputs", str(index), "tooltip"] = tooltip
    return found


def optional_inputs(node: dict[str, Any]) -> dict[str, Any]:
    return node["input"].get("optional", {})


def short_name(node: dict[str, Any]) -> str:
    return node["display_name"].removesuffix(" (LivePhoto)")


def test_english_texts_are_exactly_those_of_the_schemas(comfyui_server):
    info = comfyui_server.client().object_info()
    schemas = {
        (name, *path): text
        for name, node in info.items()
        if node["category"] == "LivePhoto"
        for path, text in schema_messages(node).items()
    }
    assert len({name for name, *_ in schemas}) >= 9
    assert messages(node_definitions("en")) == schemas


@each_translation
def test_translation_has_the_same_nodes_inputs_and_outputs_as_english(language):
    translated, english = messages(node_definitions(language)), messages(node_definitions("en"))
    assert list(translated) == list(english)


@each_language
def test_front_end_reads_every_text_as_it_stands(language):
    texts = messages(node_definitions(language))
    bad = {path: text for path, text in texts.items() if SPECIAL.search(text)}
    assert texts and not bad
    assert [path for path, text in texts.items() if not text or text != text.strip()] == []
    # It looks for dots in a key as underscores.
    assert [path for path in texts if any("." in key for key in path)] == []


@pytest.mark.parametrize("text", ["a@b", "{name}", "one | two"])
def test_texts_that_vue_i18n_would_change_are_found(text):
    assert SPECIAL.search(text)


@each_translation
def test_only_names_that_comfyui_keeps_stay_english(language):
    english = messages(node_definitions("en"))
    texts = messages(node_definitions(language))
    same = {path for path, text in texts.items() if text.casefold() == english[path].casefold()}
    assert {english[path] for path in same} == NOT_TRANSLATED[language]
    assert {path[-1] for path in same} == {"name"}
    bare = [
        text
        for path, text in texts.items()
        if path not in same and not (HAN.search(text) or KANA.search(text))
    ]
    assert bare == []


def test_chinese_is_simplified_chinese():
    for text in messages(node_definitions("zh")).values():
        assert not KANA.search(text), text
        text.encode("gb2312")  # holds the simplified characters only


def test_japanese_is_japanese():
    for path, text in messages(node_definitions("ja")).items():
        text.encode("shift_jis")  # does not hold China's simplified characters
        assert path[-1] == "name" or KANA.search(text), text


@each_translation
def test_numbers_folders_and_proper_names_stay(language):
    english = messages(node_definitions("en"))
    for path, text in messages(node_definitions(language)).items():
        if path[-1] != "name":
            assert set(NOT_WORDS.findall(text)) == set(NOT_WORDS.findall(english[path])), path


def test_what_must_stay_is_found_in_a_text():
    text = "2.5 LoRAs of SD-1.5 for ApplyLivePhoto, in models/animatediff_models. pad: base model"
    found = ["2.5", "LoRA", "SD", "1.5", "ApplyLivePhoto", "models/animatediff_models", "pad"]
    assert NOT_WORDS.findall(text) == found


@each_translation
def test_texts_call_the_packs_nodes_by_their_translated_names(language):
    english, translated = node_definitions("en"), node_definitions(language)
    texts, num_mentions = messages(translated), 0
    for path, text in messages(english).items():
        for node, definition in english.items():
            if path[-1] in ("tooltip", "description") and short_name(definition) in text:
                assert short_name(translated[node]) in texts[path], path
                num_mentions += 1
    assert num_mentions > 10


def extension_texts() -> list[str]:
    """What the pack's extension writes on nodes."""
    scripts = (path.read_text(encoding="utf-8") for path in EXTENSION.glob("*.js"))
    return [text for script in scripts for text in TRANSLATED.findall(script)]


def extension_messages(language: str) -> dict[str, str]:
    path = LOCALES / language / "main.json"
    return json.loads(path.read_text(encoding="utf-8"))["livePhoto"]


def test_every_call_for_a_translation_is_found():
    scripts = [path.read_text(encoding="utf-8") for path in EXTENSION.glob("*.js")]
    calls = sum(len(re.findall(r"(?<!function )\btranslate\(", script)) for script in scripts)
    assert len(extension_texts()) == calls > 10


@each_translation
def test_extension_is_translated_with_its_values(language):
    texts, translated = extension_texts(), extension_messages(language)
    assert translated.keys() == set(texts)
    for english, text in translated.items():
        assert HAN.search(text) or KANA.search(text)
        assert sorted(VALUE.findall(text)) == sorted(VALUE.findall(english)), english
        text.encode({"zh": "gb2312", "ja": "cp932"}[language])


def test_comfyui_serves_the_texts_to_its_front_end(every_comfyui_server):
    response = requests.get(f"{every_comfyui_server.url}/i18n", timeout=60)
    assert response.status_code == 200
    served = response.json()
    for language in LANGUAGES:
        ours = node_definitions(language)
        assert {node: served[language]["nodeDefs"].get(node) for node in ours} == ours
    for language in TRANSLATIONS:
        assert served[language]["livePhoto"] == extension_messages(language)
