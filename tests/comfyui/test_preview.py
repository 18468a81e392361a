"""Previews while a video is sampled: who gets them, which frames, and that sampling is the same."""

from __future__ import annotations

import base64
import io
import sys
from types import SimpleNamespace

import latent_preview
import numpy as np
import pytest
import torch
from comfy.cli_args import LatentPreviewMethod
from comfy.latent_formats import SD15
from comfy_execution.utils import CurrentNodeContext
from PIL import Image
from server import PromptServer

from livephoto_core.comfyui import preview
from livephoto_core.comfyui.sampling import sample_livephoto
from tests.comfyui.tiny_models import (
    FULL,
    random_reference,
    random_text,
    tiny_livephoto,
    tiny_sd15,
)

FRONT_END, PROGRAM = "front end", "program"


@pytest.fixture(scope="module")
def model():
    return tiny_sd15()


@pytest.fixture
def sent(monkeypatch):
    """Messages of a server with a front end and a program, after a run by the front end began."""
    sent = []
    server = SimpleNamespace(
        client_id=FRONT_END,
        sockets_metadata={
            FRONT_END: {"feature_flags": {"supports_preview_metadata": True}},
            PROGRAM: {"feature_flags": {}},
        },
        send_sync=lambda *message: sent.append(message),
    )
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)
    monkeypatch.setattr(latent_preview.args, "preview_method", LatentPreviewMethod.Latent2RGB)
    return sent


@pytest.fixture
def every_step(monkeypatch):
    monkeypatch.setattr(preview, "MIN_INTERVAL_S", 0.0)


def sample(model, *, num_frames=4, num_steps=3):
    return sample_livephoto(
        model,
        tiny_livephoto(FULL),
        random_reference(FULL),
        motion_intensity=5,
        num_frames=num_frames,
        positive=random_text(),
        negative=random_text(seed=5),
        seed=1,
        num_steps=num_steps,
        cfg=3.0,
        sampler_name="euler",
        scheduler="normal",
    )["samples"]


def sample_as_node(model, **options):
    with CurrentNodeContext("prompt", "7"):
        return sample(model, **options)


def test_front_end_gets_a_loop_of_all_frames_at_every_step(model, sent, every_step):
    sample_as_node(model)
    assert [(event, client) for event, _, client in sent] == [(preview.EVENT, FRONT_END)] * 3
    for _, message, _ in sent:
        assert message.keys() == {"node", "strip", "num_frames", "width", "height", "seconds"}
        assert (message["node"], message["num_frames"], message["seconds"]) == ("7", 4, 0.5)
        assert pixels(message).shape == (4 * 8, 8, 3)
    assert sent[0][1]["strip"] != sent[-1][1]["strip"]


def test_at_most_one_preview_per_interval_but_always_the_last(model, sent, monkeypatch):
    monkeypatch.setattr(preview, "MIN_INTERVAL_S", 1000.0)
    sample_as_node(model, num_steps=5)
    assert len(sent) == 2


@pytest.mark.parametrize("client", [PROGRAM, "gone", None])
def test_other_clients_get_the_preview_of_comfyui(model, sent, client):
    PromptServer.instance.client_id = client
    with CurrentNodeContext("prompt", "7"):
        callback = preview.sampling_callback(model, 3)
    assert callback.__module__ == latent_preview.__name__
    sample_as_node(model)
    assert sent == []


def test_nothing_is_sent_outside_a_node(model, sent):
    sample(model)
    assert sent == []


def test_nothing_is_sent_where_previews_are_off(model, sent, monkeypatch):
    monkeypatch.setattr(latent_preview.args, "preview_method", LatentPreviewMethod.NoPreviews)
    sample_as_node(model)
    assert sent == []


def test_training_needs_no_server(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "server", None)  # its import would raise
    assert sample(model).shape == (4, 4, 8, 8)


def test_latents_are_bit_identical_with_and_without_preview(model, sent, every_step):
    alone, watched = sample(model), sample_as_node(model)
    assert sent
    assert torch.equal(alone, watched)


def test_progress_is_reported_step_by_step(model, sent, every_step, monkeypatch):
    reported = []

    def hook(value, total, picture, **_):
        reported.append((value, total, picture))

    monkeypatch.setattr("comfy.utils.PROGRESS_BAR_HOOK", hook)
    sample_as_node(model)
    assert (reported[0], reported[-1]) == ((1, 3, None), (3, 3, None))


def test_colours_are_those_of_the_preview_of_comfyui(sent):
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    shown = pixels(preview.preview_message(latents, SD15()))
    previewer = latent_preview.get_previewer(torch.device("cpu"), SD15())
    expected = [np.array(previewer.decode_latent_to_preview(frame[None])) for frame in latents]
    # JPEG, of noise: the mean says whether factors, offset and order of the frames are right.
    assert np.abs(shown.astype(int) - np.concatenate(expected)).mean() < 8
    assert np.abs(shown.astype(int) - np.concatenate(expected[::-1])).mean() > 20


@pytest.mark.parametrize("num_frames", [2, 16, 32])
def test_all_frames_of_a_short_video_are_shown(num_frames):
    assert preview.chosen_frames(num_frames) == list(range(num_frames))


@pytest.mark.parametrize("num_frames", [33, 64, 1000])
def test_frames_of_a_long_video_are_evenly_chosen(num_frames):
    chosen = preview.chosen_frames(num_frames)
    assert (len(chosen), chosen[0], chosen[-1]) == (32, 0, num_frames - 1)
    assert set(np.diff(chosen)) <= {(num_frames - 1) // 31, -(-(num_frames - 1) // 31)}


def test_long_video_plays_as_fast_as_it_will():
    message = preview.preview_message(torch.zeros(64, 4, 4, 6), SD15())
    assert (message["num_frames"], message["seconds"]) == (32, 8.0)
    assert (message["width"], message["height"]) == (6, 4)


def pixels(message) -> np.ndarray:
    head, data = message["strip"].split(",")
    assert head == "data:image/jpeg;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))))
