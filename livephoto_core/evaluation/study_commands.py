"""`python -m livephoto_core.evaluation run | page | table`: the benchmark and the user study."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from .benchmark_run import FAILURES_FILE, run_benchmark
from .comfyui_client import ComfyUIClient
from .protocol import read_benchmark, read_method
from .rating import find_videos, picked_videos, write_page
from .rating_results import count_picks, rating_table, read_results

_log = logging.getLogger(__name__)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    parser.add_argument("benchmark", type=Path, help="see protocol.py for the format")
    parser.add_argument("--method", type=Path, required=True, help="workflow and its inputs")
    parser.add_argument("--output", type=Path, required=True, help="folder of all videos")
    parser.add_argument("--server", default="http://127.0.0.1:8188", help="(%(default)s)")


def run(given: argparse.Namespace) -> int:
    """Makes the videos of a method; 1 if some could not be made."""
    samples, method = read_benchmark(given.benchmark), read_method(given.method)
    result = run_benchmark(ComfyUIClient(given.server), method, samples, given.output)
    _log.info(
        "%d videos made, %d were there, %d failed.",
        result.num_made,
        result.num_there,
        result.num_failed,
    )
    if result.num_failed:
        _log.error("Reasons: %s", given.output / method.name / FAILURES_FILE)
    return int(bool(result.num_failed))


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `page`."""
    parser.add_argument("kind", choices=("pick", "rate"), help="choose the best seed, or rate 1–5")
    parser.add_argument("benchmark", type=Path, help="the benchmark's file")
    parser.add_argument("--videos", type=Path, required=True, help="folder of all videos")
    parser.add_argument("--methods", nargs="+", required=True, help="names of the methods")
    parser.add_argument("--output", type=Path, required=True, help="folder for page and key")
    parser.add_argument("--seed", type=int, default=0, help="of the order (%(default)s)")
    parser.add_argument(
        "--picks", type=Path, nargs="+", help="results of a pick page, to rate only"
    )
    parser.add_argument("--picks-key", type=Path, help="its key.json")


def page(given: argparse.Namespace) -> int:
    """Writes a page for raters."""
    if bool(given.picks) != bool(given.picks_key):
        raise ValueError("--picks and --picks-key belong together: give both or neither.")
    samples = read_benchmark(given.benchmark)
    videos = find_videos(given.videos, given.methods, samples)
    if given.picks:
        picks = count_picks(*read_results(given.picks_key, given.picks, "pick"))
        videos = picked_videos(videos, picks)
    index = write_page(given.kind, videos, given.output, seed=given.seed)
    _log.info(
        "%d videos. Give raters %s, and keep %s to yourself.",
        len(videos),
        index.parent,
        given.output / "key.json",
    )
    return 0


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `table`."""
    parser.add_argument("results", type=Path, nargs="+", help="files that raters saved")
    parser.add_argument("--key", type=Path, required=True, help="key.json of the page")


def table(given: argparse.Namespace) -> int:
    """Prints the mean ratings."""
    sys.stdout.write(rating_table(*read_results(given.key, given.results, "rate")) + "\n")
    return 0
