"""Seconds per guided step and peak memory of every part, on SD-1.5-sized random weights.

    make benchmark                          # 16 frames of 128×128 pixels, on the CPU
    make benchmark ARGS="--size 512 --device cuda"

All variants run in one process, in turns, so that a busy machine slows all of them; the table gives
the fastest step of each and its ratio to the bare UNet. On the CPU ComfyUI runs with
--use-pytorch-cross-attention and in fp32, on a GPU in the dtype that it chooses. Working memory is
the peak of the process (of the GPU's allocator) during the steps, above what lay in memory before:
all variants' weights do.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from harness.environment import prepare


def main() -> None:
    """Runs all variants and prints a Markdown table."""
    options = _options()
    sys.path.insert(0, str(prepare().comfyui))
    from comfy.cli_args import args

    args.cpu = options.device == "cpu"
    args.use_pytorch_cross_attention = True
    from .variants import variants

    timers = variants(options)
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    memory: dict[str, float] = {}
    for round_number in range(options.rounds + 1):
        for name, seconds_per_step in timers.items():
            gc.collect()
            resident = _start_peak_memory(options.device)
            elapsed = seconds_per_step()
            # The first round warms up allocators and caches.
            if round_number:
                seconds[name].append(elapsed)
            memory[name] = _peak_memory(options.device) - resident
            print(f"round {round_number}: {name}: {elapsed:.3f} s", file=sys.stderr, flush=True)
    print(_table(seconds, memory, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make benchmark")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=128, help="width and height in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="timed steps of every variant")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--without-diffusers", action="store_true")
    return parser.parse_args()


def _table(
    seconds: dict[str, list[float]], memory: dict[str, float], options: argparse.Namespace
) -> str:
    bare = min(next(iter(seconds.values())))
    lines = [
        f"{options.frames} frames of {options.size}×{options.size} pixels, two guidance branches, "
        f"{options.device}, fastest of {options.rounds} steps",
        "",
        "| variant | s per step | median | ratio | working memory, GiB |",
        "|---|---|---|---|---|",
    ]
    for name, times in seconds.items():
        best, median = min(times), sorted(times)[len(times) // 2]
        ratio = f"{best / bare:.2f}"
        lines.append(f"| {name} | {best:.2f} | {median:.2f} | {ratio} | {memory[name]:.2f} |")
    return "\n".join(lines)


def _start_peak_memory(device: str) -> float:
    """Starts a new peak and returns the GiB in use now."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**30
    Path("/proc/self/clear_refs").write_text("5")
    return _process_memory_gib("VmRSS")


def _peak_memory(device: str) -> float:
    """The GiB at the peak since it was started."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**30
    return _process_memory_gib("VmHWM")


def _process_memory_gib(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    [kib] = [line.split()[1] for line in status.splitlines() if line.startswith(field)]
    return int(kib) / 2**20


if __name__ == "__main__":
    main()
