"""The plain log and TensorBoard's."""

from __future__ import annotations

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from livephoto_core.training.log import Meter, TrainingLog, read_log


def board_values(folder, name) -> dict[int, float]:
    board = EventAccumulator(str(folder))
    board.Reload()
    return {event.step: event.value for event in board.Scalars(name)}


def test_figures_are_written_to_both_logs(tmp_path):
    log = TrainingLog(tmp_path, step=0)
    loss = torch.tensor(1 / 3).item()
    log.write(10, {"loss": loss})
    log.write(20, {"loss": 2.0, "text_sensitivity": 0.5})
    log.close()
    first, second = read_log(tmp_path)
    assert torch.tensor(first["loss"]).item() == loss, "nine digits hold every fp32"
    assert second == {"step": 20, "loss": 2.0, "text_sensitivity": 0.5}
    assert board_values(tmp_path, "loss") == {10: loss, 20: 2.0}


def test_resumed_log_drops_what_comes_after_its_step(tmp_path):
    log = TrainingLog(tmp_path, step=0)
    for step in (10, 20, 30):
        log.write(step, {"loss": 1.0})
    log.close()
    with (tmp_path / "log.txt").open("a") as file:
        file.write("step=4")  # cut off by a crash
    log = TrainingLog(tmp_path, step=20)
    log.write(30, {"loss": 2.0})
    log.close()
    assert [(line["step"], line["loss"]) for line in read_log(tmp_path)] == [
        (10, 1.0),
        (20, 1.0),
        (30, 2.0),
    ]
    assert board_values(tmp_path, "loss") == {10: 1.0, 20: 1.0, 30: 2.0}


def test_figures_of_a_run_without_a_saved_state_are_dropped(tmp_path):
    for loss, steps in ((1.0, (10, 20, 30)), (2.0, (10, 20))):
        log = TrainingLog(tmp_path, step=0)
        for step in steps:
            log.write(step, {"loss": loss})
        log.close()
    assert [line["loss"] for line in read_log(tmp_path)] == [2.0, 2.0]
    assert board_values(tmp_path, "loss") == {10: 2.0, 20: 2.0}


def test_meter_averages_over_its_steps():
    meter = Meter()
    for loss, norm in ((1.0, 4.0), (3.0, 8.0)):
        meter.add(torch.tensor(loss), torch.tensor(norm))
    assert (meter.num_steps, meter.mean_loss.item(), meter.mean_norm.item()) == (2, 2.0, 6.0)
    assert meter.seconds > 0
