"""The decoder trained by itself."""

from __future__ import annotations

import dataclasses

import torch

from livephoto_core.shapes.base_training.decoder import DecoderTask
from livephoto_core.shapes.base_training.loop import train
from livephoto_core.shapes.base_training.stages import with_finished_decoder
from livephoto_core.shapes.encoded_stream import digest, encoder_digest
from tests.shapes.base_models import OPTIONS, TINY_BASE


def test_decoder_learns_and_latents_stay(autoencoder, tmp_path):
    options = dataclasses.replace(OPTIONS, num_steps=30, log_steps=30)
    before = {name: weight.clone() for name, weight in autoencoder.state_dict().items()}
    task = DecoderTask(TINY_BASE, options, autoencoder=autoencoder)
    batch = task.make_batch(10_000)
    untrained = task.measure(task.module, batch)["psnr_db"]
    train(task, options, tmp_path / "decoder")
    (tmp_path / "decoder" / "result.json").write_text("{}")  # as the step's command writes it
    assert task.measure(task.module, batch)["psnr_db"] > untrained + 1
    assert all(torch.equal(before[k], w) for k, w in autoencoder.state_dict().items())
    try:
        finished = with_finished_decoder(autoencoder, tmp_path)
        assert encoder_digest(finished.state_dict()) == encoder_digest(before)
        assert digest(finished.state_dict()) != digest(before)
    finally:
        autoencoder.load_state_dict(before)
