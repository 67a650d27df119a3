"""What a process tree used is known though its processes come and go, or said to be unknown."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

import pytest

from headrace.lab.process import PR_SET_CHILD_SUBREAPER, Cores, ServerProcess, adopt_orphans
from headrace.lab.usage import ROUNDING_NS, cpu_growth, is_cpu_known

BURNT_NS = 100_000_000
# A program comes to a point, says so, and goes on when it is told to.
BEGINNING = f"""\
import os, signal, sys, time
def pause():
    os.write(1, b".\\n")
    os.read(0, 1)
def burn():
    end_ns = time.process_time_ns() + {BURNT_NS}
    while time.process_time_ns() < end_ns: pass
"""
FORKS_FOR_EACH_REQUEST = """\
pause()
for _ in range(4):
    if not os.fork():
        burn()
        os._exit(0)
    os.wait()
pause()
"""
WORKER_ENDS = """\
if not os.fork():
    burn()
    pause()
    burn()
    os._exit(0)
os.wait()
pause()
"""
IGNORES_ITS_CHILDREN = """\
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
""" + FORKS_FOR_EACH_REQUEST.replace("os.wait()", "pass")
PARENT_OF_A_WORKER_ENDS = """\
if not os.fork():
    if not os.fork():
        burn()
        pause()
        parent = os.getppid()
        os.kill(parent, signal.SIGKILL)
        while os.getppid() == parent: pass
        burn()
        pause()
        signal.pause()
    signal.pause()
os.wait()
signal.pause()
"""


@contextlib.contextmanager
def started(program: str) -> Iterator[ServerProcess]:
    command = [sys.executable, "-c", BEGINNING + program]
    server = ServerProcess(command, os.environ, Cores.choose())
    try:
        yield server
    finally:
        server.stop()


def wait_pause(server: ServerProcess) -> None:
    assert server.popen.stdout.readline() == b".\n", server.last_words()


def go_on(server: ServerProcess) -> None:
    os.write(server.popen.stdin.fileno(), b".")


@pytest.fixture
def subreaper():
    adopt_orphans()
    yield
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0)


def used_between_pauses(server: ServerProcess) -> tuple[int, bool]:
    """The CPU time in ns, and whether it is known."""
    wait_pause(server)
    before = server.usage()
    go_on(server)
    wait_pause(server)
    after = server.usage()
    return cpu_growth(before, after), is_cpu_known(before, after)


def test_usage_counts_children_that_began_and_ended_meanwhile():
    with started(FORKS_FOR_EACH_REQUEST) as server:
        used_ns, is_known = used_between_pauses(server)
    assert is_known
    assert used_ns >= 4 * BURNT_NS - ROUNDING_NS


def test_usage_counts_of_a_worker_that_ended_only_what_was_added():
    with started(WORKER_ENDS) as server:
        used_ns, is_known = used_between_pauses(server)
    assert is_known
    assert BURNT_NS - ROUNDING_NS <= used_ns < 2 * BURNT_NS - ROUNDING_NS


def test_usage_is_unknown_where_a_process_ignores_its_children():
    with started(IGNORES_ITS_CHILDREN) as server:
        _, is_known = used_between_pauses(server)
    assert not is_known


def test_usage_counts_a_worker_that_was_adopted(subreaper):
    with started(PARENT_OF_A_WORKER_ENDS) as server:
        used_ns, is_known = used_between_pauses(server)
    assert is_known
    assert used_ns >= BURNT_NS - ROUNDING_NS


def test_usage_is_unknown_where_a_worker_went_to_somebody_else():
    with started(PARENT_OF_A_WORKER_ENDS) as server:
        _, is_known = used_between_pauses(server)
    assert not is_known
