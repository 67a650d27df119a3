"""A loop says on which model it runs, to whoever asked for that when the program was started."""

import os
import subprocess
import sys

import pytest

from headrace.loop.witness import RUNS_MAX, VARIABLE

RUN = """\
import asyncio, os
import headrace
print(os.getpid())
headrace.new_event_loop("epoll").close()  # made, but never run
async def main():
    with open(os.environ["HEADRACE_WITNESS"]) as file: print(file.read(), end="")
headrace.run(main(), model="poll")
"""
FORK = """\
import os, asyncio, headrace
child = os.fork()
if child: os.waitpid(child, 0)
headrace.run(asyncio.sleep(0), model="poll" if child else "epoll")
"""
MANY = """\
import asyncio, headrace
from headrace.loop import witness
witness.RUNS_MAX = 3
for _ in range(5): headrace.run(asyncio.sleep(0), model="epoll")
"""


def run(program: str, path: str | None) -> list[str]:
    known = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=known if path is None else known | {VARIABLE: str(path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def witness(tmp_path):
    path = tmp_path / "witness"
    path.touch()
    return path


def events(path) -> list[tuple[str, ...]]:
    """(pid, event, model) of each line; asyncio.run() runs its loop again to clean up."""
    words = [line.split() for line in path.read_text().splitlines()]
    return list(dict.fromkeys((pid, event, model) for pid, _, event, model in words))


def test_loop_says_that_it_runs_and_that_it_does_no_more(witness):
    pid, seen = run(RUN, witness)
    assert seen.split()[2:] == ["begins", "poll"]
    assert events(witness) == [(pid, "begins", "poll"), (pid, "ends", "poll")]


def test_loop_of_a_forked_child_speaks_for_itself(witness):
    run(FORK, witness)
    assert [rest for _, *rest in events(witness)] == [
        ["begins", "epoll"], ["ends", "epoll"], ["begins", "poll"], ["ends", "poll"],
    ]  # fmt: skip
    assert len({pid for pid, *_ in events(witness)}) == 2


def test_loops_say_no_more_after_many_runs(witness):
    assert RUNS_MAX >= 1000
    run(MANY, witness)
    said = [line.split()[2] for line in witness.read_text().splitlines()]
    assert said == ["begins", "ends"] * 3


@pytest.mark.parametrize("path", [None, "/nowhere/at/all"])
def test_loop_says_nothing_when_nobody_listens(path):
    assert run(MANY, path) == []


def test_loop_says_nothing_to_a_fifo_that_nobody_reads(tmp_path):
    fifo = tmp_path / "witness"
    os.mkfifo(fifo)
    assert run(MANY, fifo) == []  # it would wait for a reader, for ever


def test_loop_says_nothing_to_what_is_no_regular_file(tmp_path):
    fifo = tmp_path / "witness"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run(MANY, fifo) == []
        assert os.read(reader, 1000) == b""
    finally:
        os.close(reader)
