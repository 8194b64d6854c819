"""The command line. Each command has a module of its own, which is loaded only when the command is used."""

from __future__ import annotations

import sys

from tendril.cli.commands import app
from tendril.cli.failures import one_line


def main() -> None:
    """Entry of the program ``tendril``: exit status 0 only on success, 1 with one line for what can be mended, 2 for a
    wrong call."""
    try:
        app(prog_name="tendril")
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        sys.stderr.write(f"tendril: {line}\n")
        sys.exit(1)
