"""`python -m livephoto_core.training train` and `… prepare`."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys

from .stop_signals import TrainingStopped

_COMMANDS = {
    "prepare": (".preparation.command", "turn videos with captions into a data set"),
    "train": (".command", "train a checkpoint on a data set"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    # Of several processes the first one speaks.
    is_first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.INFO if is_first else logging.ERROR, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m livephoto_core.training")
    commands = parser.add_subparsers(required=True, metavar="{prepare,train}")
    for name, (module_name, purpose) in _COMMANDS.items():
        module = importlib.import_module(module_name, __package__)
        command = commands.add_parser(name, help=purpose)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    namespace = parser.parse_args(arguments)
    try:
        namespace.run(namespace)
    except (OSError, ValueError, FloatingPointError) as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    except TrainingStopped as stopped:
        logging.getLogger(__name__).info("%s", stopped)
        # As a shell counts a process that a signal has ended.
        return 128 + (stopped.number or signal.SIGTERM)
    return 0


if __name__ == "__main__":
    sys.exit(main())
