"""Starts the services' processes quickly: what all of them import is imported once, and each begins as a copy of that.

Loading the libraries takes most of a service's start. This process loads them while the servers below boot, and forks
when it is told to. Each copy is handed to `up` (its nearest subreaper), leads a session of its own, and then runs its
module as ``python -m`` would. The nursery ends when all are born; what is started again later starts the usual way.

Standard input: one line of JSON, a list of ``{"module", "arguments", "env", "output"}``, where ``output`` is the number
of an inherited file descriptor. Standard output: a line once all is loaded, then one line of JSON, the process ids in
the same order.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import sys
from typing import Any

COMMON = (
    "uvloop",
    "typer",
    "tendril.cli.run",
    "shared.clock",
    "shared.settings",
    "shared.telemetry",
    "shared.tokens",
    "shared.messaging.consumers",
    "shared.messaging.requests",
    "shared.persistence.mongo",
    "shared.persistence.views",
)
SET_NAME = 15  #: prctl's PR_SET_NAME


def main() -> None:
    """Returns in the nursery once all are born, and in each copy when its module has ended."""
    for name in COMMON:
        importlib.import_module(name)
    sys.stdout.write("loaded\n")
    sys.stdout.flush()
    orders = json.loads(sys.stdin.readline())
    gc.freeze()  # collections would copy pages that all share
    pids = []
    for order in orders:
        pid = _born()
        if pid == 0:
            _settle(order, [each["output"] for each in orders])
            runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
            return
        pids.append(pid)
    sys.stdout.write(json.dumps(pids) + "\n")
    sys.stdout.flush()


def _born() -> int:
    """Forks twice, so that the copy is nobody's child here: its process id, and 0 in the copy."""
    reading, writing = os.pipe()
    middle = os.fork()
    if middle == 0:
        pid = os.fork()
        if pid:
            os.write(writing, str(pid).encode())
            os._exit(0)
        os.close(reading)
        os.close(writing)
        return 0
    os.close(writing)
    told = os.read(reading, 32)
    os.close(reading)
    os.waitpid(middle, 0)
    return int(told)


def _settle(order: dict[str, Any], outputs: list[int]) -> None:
    """Session, standard streams, environment, arguments and name of the copy."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(order["output"], 1)
    os.dup2(order["output"], 2)
    for each in (nothing, *outputs):
        os.close(each)
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = [order["module"], *order["arguments"]]
    name = order["arguments"][-1] if order["arguments"] else order["module"].rpartition(".")[2]
    ctypes.CDLL(None).prctl(SET_NAME, name.encode(), 0, 0, 0)


if __name__ == "__main__":
    main()
