"""Where everything runs: the load on one core, what is measured on another."""

from __future__ import annotations

import os

from headrace.lab.machine import describe_machine, machine_line
from headrace.lab.process import Cores


def cores() -> Cores:
    return Cores.choose().single_server()


def pin_load() -> None:
    """This process, and with it each load generator, stays on the load's core."""
    os.sched_setaffinity(0, {LOAD_AND_SERVER.load})


# Both before this process is pinned, which makes the other cores invisible.
LOAD_AND_SERVER = cores()
LINE = machine_line(describe_machine())
