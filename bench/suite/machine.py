"""Where everything runs: the load on one core, what is measured on another."""

from __future__ import annotations

import os
import resource

from headrace.lab.machine import describe_machine, machine_line
from headrace.lab.process import Cores


def cores() -> Cores:
    return Cores.choose().single_server()


def prepare_load() -> None:
    """This process, and with it each load generator, stays on the load's core.

    The connections to all contenders of a cell are open at the same time.
    """
    os.sched_setaffinity(0, {LOAD_AND_SERVER.load})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# Both before this process is pinned, which makes the other cores invisible.
LOAD_AND_SERVER = cores()
LINE = machine_line(describe_machine())
