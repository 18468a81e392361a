"""Command line: `python3 -m harness setup | serve | run | demo | python | module`."""

import sys

# Ahead of the other imports: an old Python would only say that it has no tomllib.
if sys.version_info < (3, 11):
    sys.exit(
        f"The harness needs Python 3.11 or newer; this is {sys.version.split()[0]}. With make: "
        "make PYTHON=python3.12 test"
    )

from harness.commands import main

if __name__ == "__main__":
    sys.exit(main())
