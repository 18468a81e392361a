"""The training loop: what changes, what must not, resuming, and several processes."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.environment import REPOSITORY
from livephoto_core.checkpoints import Checkpoint, read_checkpoint
from livephoto_core.comfyui.apply import apply_livephoto
from livephoto_core.comfyui.livephoto_model import livephoto_from_weights
from livephoto_core.comfyui.reference import LivePhotoReference
from livephoto_core.diffusion.schedules import schedule_alphas_cumprod
from livephoto_core.training import loop
from livephoto_core.training.log import read_log
from livephoto_core.training.loop import Training, train
from livephoto_core.training.loss import draw
from livephoto_core.training.state import STATE_FILE, SavedState, checkpoint_path
from livephoto_core.training.validation import SEED
from tests.comfyui.sampling import sample
from tests.training.noise_passing import pass_noise_through
from tests.training.tiny_training import (
    CONTEXT_DIM,
    FRAMES,
    RandomClips,
    ingredients,
    options,
    tiny_base,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Layers this small lose time to a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def copy_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed_parts(before: dict, after: dict) -> set[str]:
    assert before.keys() == after.keys()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def log_without_times(folder: Path) -> list[dict[str, float]]:
    return [
        {name: value for name, value in line.items() if name != "clips_per_s"}
        for line in read_log(folder)
    ]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder) if "loss" in line]


def validation_losses(folder: Path) -> list[float]:
    return [line["validation_loss"] for line in read_log(folder) if "validation_loss" in line]


def run(folder: Path, *assignments: str, resume: bool = False, **changes) -> Path:
    return train(options(folder, *assignments), ingredients(**changes), resume=resume)


def test_frozen_weights_are_bit_identical_after_training(tmp_path):
    given = ingredients()
    training = Training(options(tmp_path / "run", "run.steps=5", "run.save_every=5"), given)
    frozen = {
        "base given": given.model.model.diffusion_model,
        "base in training": training.loss.unet.unet,
        "encoder": given.encoder[1],
    }
    before = {name: copy_of(module) for name, module in frozen.items()}
    parts = copy_of(training.parts)
    training.run()
    for name, module in frozen.items():
        assert changed_parts(before[name], module.state_dict()) == set(), name
    all_parts = {"motion", "input_conditioning", "content", "text_reweighting"}
    assert changed_parts(parts, training.parts.state_dict()) == all_parts


@pytest.mark.parametrize(
    ("frozen", "trained"),
    [
        ("motion", {"input_conditioning", "content", "text_reweighting"}),
        ("input,text", {"motion", "content"}),
        ("motion,input,content", {"text_reweighting"}),
    ],
)
def test_only_the_parts_that_are_not_frozen_change(tmp_path, frozen, trained):
    first = run(tmp_path / "first", "run.steps=3", "run.save_every=3")
    initial = read_checkpoint(checkpoint_path(first, 3))
    assignments = "run.steps=2", "run.save_every=2", f"parts.frozen={frozen}"
    config = options(tmp_path / "run", *assignments, "files.init_from=given below")
    training = Training(config, ingredients(initial=initial))
    assert changed_parts(initial.state_dict, training.parts.state_dict()) == set()
    training.run()
    assert changed_parts(initial.state_dict, training.parts.state_dict()) == trained
    saved = read_checkpoint(checkpoint_path(tmp_path / "run", 2))
    assert changed_parts(initial.state_dict, saved.state_dict) == trained


class FadingClips(RandomClips):
    """The first frame, white noise of unit variance, fades into its negative at a pace that only
    caption and level tell."""

    def load(self, numbers):
        clips = super().load(numbers)
        pace = torch.tensor([number % 4 * 2 / 3 for number in numbers])
        brightness = 1 - pace[:, None] * torch.linspace(0, 1, FRAMES)
        latents = clips.latents[:, :1] * brightness[:, :, None, None, None]
        return dataclasses.replace(clips, latents=latents)


@pytest.mark.slow
def test_overfits_four_clips_at_one_noise_level(tmp_path):
    """With noise drawn anew for every step. Whoever does not know the four pictures errs by the
    share of the clips in the variance of the noisy clips, 0.39 here, or more. The loss falls from
    0.61 to 0.04 in 150 steps."""
    timestep = 300
    folder = run(
        tmp_path / "run",
        "run.steps=150",
        "run.save_every=150",
        f"noise.timestep_low={timestep}",
        f"noise.timestep_high={timestep + 1}",
        "optimiser.learning_rate=1e-2",
        "optimiser.cooldown_steps=60",
        "optimiser.weight_decay=0",
        clips=FadingClips(),
        model=pass_noise_through(tiny_base()),
    )
    alpha = schedule_alphas_cumprod("scaled_linear")[timestep].item()
    signal = alpha * FadingClips().load(range(4)).latents.square().mean(dim=(2, 3, 4))
    share = signal / (signal + 1 - alpha)
    first, *_ = losses(folder)
    assert first > share.mean() > 0.35
    last = statistics.fmean(losses(folder)[-10:])
    assert last < first / 10


def test_training_that_ends_within_its_warmup_says_so(tmp_path, caplog):
    Training(options(tmp_path / "a", "run.steps=3", "optimiser.warmup_steps=3"), ingredients())
    assert "warmup" not in caplog.text
    Training(options(tmp_path / "b", "run.steps=2", "optimiser.warmup_steps=3"), ingredients())
    assert "run.steps=2 ends within optimiser.warmup_steps=3" in caplog.text


def test_checkpoint_of_a_running_training_loads_and_samples(tmp_path):
    training = Training(options(tmp_path / "run", "run.steps=2", "run.save_every=1"), ingredients())
    training.run()
    checkpoint = read_checkpoint(checkpoint_path(training.folder, 2))
    for name, average in training.ema.items():
        assert torch.equal(checkpoint.state_dict[name], average)
        assert not torch.equal(average, training.trained[name]) or not average.any()
    assert checkpoint.metadata == {"training.step": "2"}
    livephoto = livephoto_from_weights("run", checkpoint.config, checkpoint.state_dict)
    reference = LivePhotoReference(torch.randn(1, 4, 8, 8), torch.randn(1, 256, 32))
    text = [[torch.randn(1, 77, CONTEXT_DIM), {}]]
    applied = apply_livephoto(tiny_base(), livephoto, reference, 5)
    video = sample(applied, frames=FRAMES, positive=text, negative=text)
    assert video.shape == (FRAMES, 4, 8, 8) and video.isfinite().all()


def test_resumed_training_ends_bit_identical(tmp_path):
    assignments = "run.save_every=2", "run.sensitivity_every=2", "run.accumulation=2"
    whole = run(tmp_path / "whole", "run.steps=6", *assignments)
    run(tmp_path / "parts", "run.steps=4", *assignments)
    parts = run(tmp_path / "parts", "run.steps=6", *assignments, resume=True)
    assert log_without_times(parts) == log_without_times(whole)
    assert (parts / STATE_FILE).read_bytes() == (whole / STATE_FILE).read_bytes()
    assert checkpoint_path(parts, 6).read_bytes() == checkpoint_path(whole, 6).read_bytes()


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.train_tiny", str(folder), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(step: int, folder: Path, process: subprocess.Popen) -> None:
    log = folder / "log.txt"
    while process.poll() is None and not (log.is_file() and f"step={step} " in log.read_text()):
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()[1]


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def test_training_killed_in_the_middle_resumes_with_the_same_losses(tmp_path):
    assignments = "run.steps=24", "run.save_every=5", "run.num_threads=2"
    whole = run(tmp_path / "whole", *assignments)
    folder = tmp_path / "killed"
    process = start(folder, *assignments)
    wait_for_step(13, folder, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    step = SavedState(folder).progress.step
    assert step in (10, 15, 20), "it was killed between two saves"
    finish(start(folder, "--resume", *assignments))
    assert log_without_times(folder) == log_without_times(whole)
    assert (folder / STATE_FILE).read_bytes() == (whole / STATE_FILE).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_training_asked_to_stop_saves_its_last_step_and_goes_on_from_it(tmp_path, number):
    assignments = "run.steps=24", "run.save_every=100", "run.num_threads=2"
    whole = run(tmp_path / "whole", *assignments)
    folder = tmp_path / "stopped"
    process = start(folder, *assignments)
    wait_for_step(9, folder, process)
    # Twice, as from a terminal and from a launcher.
    process.send_signal(number)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    step = SavedState(folder).progress.step
    assert f"TrainingStopped: Stopped and saved after step {step}. --resume {folder}" in errors
    assert 9 <= step < 24
    finish(start(folder, "--resume", *assignments))
    assert log_without_times(folder) == log_without_times(whole)
    assert (folder / STATE_FILE).read_bytes() == (whole / STATE_FILE).read_bytes()


def test_stop_saves_the_state_before_anything_else(tmp_path, monkeypatch):
    """Launchers kill what still runs after a while, and only the state cannot be made again."""

    def ask_to_stop(_):
        os.kill(os.getpid(), signal.SIGTERM)

    def be_killed(*_, **__):
        raise RuntimeError("killed")

    monkeypatch.setattr(loop, "save_checkpoint", be_killed)
    settings = ("run.save_every=100", "run.sample_every=2")
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path / "run", "run.steps=9", *settings, make_samples=ask_to_stop)
    monkeypatch.undo()
    assert SavedState(tmp_path / "run").progress.step == 2
    assert not checkpoint_path(tmp_path / "run", 2).exists()
    run(tmp_path / "run", "run.steps=3", *settings, resume=True)
    assert checkpoint_path(tmp_path / "run", 3).exists()


def test_signal_to_one_of_two_processes_stops_and_saves_both(tmp_path):
    arguments = "run.steps=1000", "run.save_every=1000", "run.log_every=1"
    processes = start_two(tmp_path / "run", *arguments)
    wait_for_step(3, tmp_path / "run", processes[1])
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
        assert "TrainingStopped" in process.communicate(timeout=120)[1]
    assert SavedState(tmp_path / "run").progress.step >= 3


def test_resuming_needs_the_initial_file_no_more(tmp_path):
    first = run(tmp_path / "first", "run.steps=1", "run.save_every=1", "noise.schedule=linear")
    initial = read_checkpoint(checkpoint_path(first, 1))
    common = "run.save_every=1", "files.init_from=gone"
    folder = run(tmp_path / "run", "run.steps=1", *common, initial=initial)
    run(folder, "run.steps=2", *common, resume=True)
    assert read_checkpoint(checkpoint_path(folder, 2)).config.noise_schedule == "linear"


def start_two(folder: Path, *arguments: str) -> list[subprocess.Popen]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return [
        start(
            folder,
            *arguments,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE="2",
            LOCAL_WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
        for rank in range(2)
    ]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_two_processes_give_the_loss_of_one(accumulation, tmp_path):
    common = "run.steps=6", "run.save_every=3", "noise.rollout_share=0.5"
    common += "run.validation_clips=5", "files.validation=yes"
    others = RandomClips(first=4)
    whole = run(tmp_path / "one", *common, "run.batch_size=4", validation=others)
    arguments = *common, f"run.batch_size={2 // accumulation}"
    processes = start_two(tmp_path / "two", *arguments, f"run.accumulation={accumulation}")
    for process in processes:
        finish(process)
    assert losses(tmp_path / "two") == pytest.approx(losses(whole), rel=1e-5)
    validation = validation_losses(tmp_path / "two")
    assert validation == pytest.approx(validation_losses(whole), rel=1e-5) and len(validation) == 2
    one, two = (SavedState(folder).progress for folder in (whole, tmp_path / "two"))
    assert one == two


def test_validation_is_of_the_checkpoint_on_other_clips_and_changes_nothing(tmp_path):
    common = "run.steps=4", "run.save_every=2", "run.validation_clips=3"
    plain = run(tmp_path / "plain", *common)
    others = RandomClips(first=4)
    folder = run(tmp_path / "run", *common, validation=others)
    assert losses(folder) == losses(plain)
    assert (folder / STATE_FILE).read_bytes() == (plain / STATE_FILE).read_bytes()
    shown = validation_losses(folder)
    checkpoints = [read_checkpoint(checkpoint_path(folder, step)) for step in (2, 4)]
    for found, checkpoint in zip(shown, checkpoints, strict=True):
        config = options(tmp_path / "tried", "files.init_from=given")
        training = Training(config, ingredients(initial=checkpoint))
        clips = others.load(range(3))
        draws = draw(config.noise, seed=SEED, numbers=range(3), shape=clips.latents.shape[1:])
        with torch.no_grad():
            assert found == pytest.approx(training.loss(clips, draws).mean().item(), rel=1e-5)


def test_accumulation_gives_the_loss_of_the_whole_batch(tmp_path):
    common = "run.steps=4", "run.save_every=4"
    whole = run(tmp_path / "whole", *common, "run.batch_size=4")
    parts = run(tmp_path / "parts", *common, "run.batch_size=1", "run.accumulation=4")
    assert losses(parts) == pytest.approx(losses(whole), rel=1e-5)


def test_recomputation_changes_nothing(tmp_path):
    common = "run.steps=4", "run.save_every=4"
    plain = run(tmp_path / "plain", *common)
    recomputed = run(tmp_path / "recomputed", *common, "run.recompute=true")
    assert losses(recomputed) == losses(plain)
    assert (recomputed / STATE_FILE).read_bytes() == (plain / STATE_FILE).read_bytes()


def test_bf16_changes_the_losses_little(tmp_path):
    common = "run.steps=4", "run.save_every=4"
    plain = run(tmp_path / "plain", *common)
    bf16 = run(tmp_path / "bf16", *common, "run.bf16=true")
    assert losses(bf16) == pytest.approx(losses(plain), rel=0.02)
    assert losses(bf16) != losses(plain), "the option did nothing"
    weights = read_checkpoint(checkpoint_path(bf16, 4)).state_dict
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


@pytest.mark.parametrize(
    "switch", ["reference_latent", "content_encoder", "intensity", "text_reweighting"]
)
def test_every_ablation_trains(tmp_path, switch):
    changes = {}
    if switch == "content_encoder":
        changes = {"encoder": None, "clips": RandomClips(with_references=False)}
    folder = run(
        tmp_path / "run", "run.steps=2", "run.save_every=2", f"parts.{switch}=false", **changes
    )
    assert read_checkpoint(checkpoint_path(folder, 2)).config == SavedState(folder).config
    assert all(0.5 < loss < 4 for loss in losses(folder))


def test_samples_are_made_of_the_averaged_weights_when_asked(tmp_path):
    snapshots = []
    training = Training(
        options(tmp_path / "run", "run.steps=5", "run.save_every=5", "run.sample_every=2"),
        ingredients(make_samples=snapshots.append),
    )
    training.run()
    assert [snapshot.step for snapshot in snapshots] == [2, 4]
    saved = read_checkpoint(checkpoint_path(training.folder, 5)).state_dict
    assert snapshots[1].weights.keys() == saved.keys()
    assert snapshots[1].config == training.parts.config
    assert changed_parts(snapshots[0].weights, snapshots[1].weights), "snapshots are copies"


def test_samples_that_fail_do_not_end_the_training(tmp_path, caplog):
    def fail(snapshot):
        raise MemoryError(f"at step {snapshot.step}")

    run(
        tmp_path / "run",
        "run.steps=4",
        "run.save_every=4",
        "run.sample_every=2",
        make_samples=fail,
    )
    assert checkpoint_path(tmp_path / "run", 4).exists()
    assert "No samples of step 2; the training goes on." in caplog.text
    assert "MemoryError: at step 4" in caplog.text


def test_log_shows_text_sensitivity_at_its_steps(tmp_path):
    folder = run(tmp_path / "run", "run.steps=4", "run.save_every=4", "run.sensitivity_every=2")
    measured = [line["step"] for line in read_log(folder) if "text_sensitivity" in line]
    assert measured == [2, 4]


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    folder = run(tmp_path / "run", "run.steps=5", "run.save_every=1", "run.keep_checkpoints=2")
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == [checkpoint_path(folder, step).name for step in (4, 5)]


def test_checkpoints_that_another_training_left_do_not_crowd_out_new_ones(tmp_path):
    later = checkpoint_path(tmp_path / "run", 9000)
    later.parent.mkdir(parents=True)
    later.write_bytes(b"left behind")
    folder = run(tmp_path / "run", "run.steps=2", "run.save_every=1", "run.keep_checkpoints=1")
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == [checkpoint_path(folder, 2).name, later.name]


def test_checkpoint_that_cannot_be_removed_does_not_end_a_training(tmp_path, monkeypatch, caplog):
    unlink = Path.unlink

    def in_use(path, missing_ok=False):
        if path.name.startswith("step-"):
            raise PermissionError(13, "in use", str(path))
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", in_use)
        folder = run(tmp_path / "run", "run.steps=2", "run.save_every=1", "run.keep_checkpoints=1")
    assert SavedState(folder).progress.step == 2
    assert f"{checkpoint_path(folder, 1)} could not be removed" in caplog.text


def test_gpu_that_only_emulates_bf16_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )
    with pytest.raises(ValueError, match="run.bf16=false"):
        run(tmp_path / "run", "run.steps=1", "run.bf16=true")


def test_second_training_in_the_same_folder_is_refused(tmp_path):
    folder = run(tmp_path / "run", "run.steps=1", "run.save_every=1")
    with pytest.raises(ValueError, match="files.output: .* already holds a training"):
        run(folder, "run.steps=1", "run.save_every=1")


@pytest.mark.parametrize(
    ("assignment", "changes", "message"),
    [
        ("parts.intensity=false", {}, "--resume: .*input_conditioning differ"),
        ("noise.schedule=linear", {}, "--resume: .*noise_schedule differ"),
        ("parts.content_encoder=false", {"encoder": None}, "--resume: .*content differ"),
        ("run.seed=0", {"encoder": None}, "parts.content_encoder must be true"),
    ],
)
def test_resuming_another_checkpoint_is_refused(tmp_path, assignment, changes, message):
    folder = run(tmp_path / "run", "run.steps=1", "run.save_every=1")
    with pytest.raises(ValueError, match=message):
        run(folder, "run.steps=2", "run.save_every=1", assignment, resume=True, **changes)


def test_resuming_with_other_frozen_parts_is_refused(tmp_path):
    initial_run = run(tmp_path / "first", "run.steps=1", "run.save_every=1")
    initial = read_checkpoint(checkpoint_path(initial_run, 1))
    common = "run.save_every=1", "files.init_from=given below"
    frozen = "parts.frozen=motion"
    folder = run(tmp_path / "run", "run.steps=1", frozen, *common, initial=initial)
    with pytest.raises(ValueError, match="has no ema of motion"):
        run(folder, "run.steps=2", *common, initial=initial, resume=True)


def test_resuming_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=f"has no {STATE_FILE}"):
        run(tmp_path / "run", resume=True)


def test_checkpoint_that_could_not_be_written_is_made_up_for(tmp_path, monkeypatch):
    settings = "run.steps=2", "run.save_every=2"
    whole = run(tmp_path / "whole", *settings)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", lambda *_, **__: (_ for _ in ()).throw(OSError(28)))
        with pytest.raises(OSError, match="28"):
            run(tmp_path / "run", *settings)
    folder = run(tmp_path / "run", *settings, resume=True)
    paths = [checkpoint_path(it, 2) for it in (folder, whole)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_damaged_state_is_refused(tmp_path):
    folder = run(tmp_path / "run", "run.steps=1", "run.save_every=1")
    state = folder / STATE_FILE
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ValueError, match="files.output: state.safetensors"):
        run(folder, "run.steps=2", "run.save_every=1", resume=True)


@pytest.mark.parametrize("free", [1e3, 1e12])
def test_too_little_room_for_checkpoints_is_told_at_the_start(free, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(
        loop, "shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=free))
    )
    folder = run(tmp_path / "run", "run.steps=2", "run.save_every=1", "run.keep_checkpoints=1")
    written = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    told = re.findall(r"fills up to ([\d.e-]+) GB", caplog.text)
    written += (folder / STATE_FILE).stat().st_size  # there are two while it is replaced
    assert len(told) == (free < written)
    assert all(0.9 * written < 1e9 * float(size) < 1.01 * written for size in told)


def test_time_that_is_left_is_told_after_two_steps(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(tmp_path / "run", "run.steps=3", "run.save_every=3")
    assert re.search(r"s a step: [\d.e-]+ hours for the 1 that are left", caplog.text)
    assert "parameters train on cpu" in caplog.text


def test_loss_that_is_no_number_stops_the_training(tmp_path):
    with pytest.raises(FloatingPointError, match="optimiser.learning_rate"):
        run(tmp_path / "run", "run.steps=5", "run.save_every=5", "optimiser.learning_rate=1e30")
    assert not (tmp_path / "run" / STATE_FILE).exists()


def test_refused_training_writes_nothing(tmp_path):
    unfit = Checkpoint(
        Training(options(tmp_path / "other"), ingredients()).parts.config,
        {"unknown": torch.zeros(1)},
        {},
    )
    with pytest.raises(ValueError, match="no weight of the parts"):
        run(tmp_path / "run", initial=unfit)
    assert not (tmp_path / "run").exists()
