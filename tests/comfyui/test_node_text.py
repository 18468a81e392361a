"""Words on a node: they come, and go when there is no reason for them any more."""

from __future__ import annotations

import pytest
from server import PromptServer

from livephoto_core.comfyui.node_text import show_on_node


class Recorder:
    """As much of PromptServer as the words use."""

    def __init__(self):
        self.sent = []
        self.receivers = []
        self.client_id = "window"

    def send_progress_text(self, text, node_id, sid):
        self.sent.append((node_id, text))
        self.receivers.append(sid)


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(PromptServer, "instance", recorder, raising=False)
    return recorder


@pytest.fixture
def sent(recorder):
    return recorder.sent


def test_text_is_sent_to_its_node_each_time(sent):
    show_on_node("a", "photo")
    show_on_node("a", "photo")
    show_on_node("b", "other")
    assert sent == [("a", "photo"), ("a", "photo"), ("b", "other")]


def test_node_without_a_text_is_left_alone(sent):
    show_on_node("c", None)
    assert sent == []


def test_text_is_blanked_once_with_what_the_front_end_does_not_pass_over(sent):
    show_on_node("d", "photo")
    show_on_node("d", None)
    show_on_node("d", None)
    assert sent == [("d", "photo"), ("d", " ")]


def test_only_the_window_that_runs_the_graph_is_told(recorder):
    show_on_node("e", "photo")
    recorder.client_id = "other window"
    show_on_node("e", None)
    recorder.client_id = None
    show_on_node("e", "photo")
    assert recorder.sent == [("e", "photo")]
    assert recorder.receivers == ["window"]
