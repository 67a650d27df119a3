"""Where everything runs: the load on one core, what is measured on another."""

from __future__ import annotations

import os

from headrace.lab.process import Cores


def cores() -> Cores:
    return Cores.choose().single_server()


def pin_load() -> None:
    """This process, and with it each load generator, stays on the load's core."""
    os.sched_setaffinity(0, {LOAD_AND_SERVER.load})


LOAD_AND_SERVER = cores()  # before this process is pinned, which makes the other core invisible
