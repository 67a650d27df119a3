"""What the loops of a program wrote proves what it ran on while it was loaded."""

import os

import pytest

from headrace.lab.contenders import Contender
from headrace.lab.proof import contradiction, witness

EPOLL = Contender("epoll", "headrace")
PLAIN = Contender("asyncio", "plain")


def write(path: str, *lines: str) -> None:
    with open(path, "a") as file:
        file.writelines(line + "\n" for line in lines)


def test_witness_knows_the_loops_that_run_under_the_load():
    with witness() as seen:
        write(seen.path, "10 1 begins epoll", "10 2 begins poll", "10 2 ends poll")
        seen.load_begins()
        assert seen.models([10]) == ["epoll"]


def test_witness_knows_the_loops_that_began_and_ended_under_the_load():
    with witness() as seen:
        seen.load_begins()
        write(seen.path, "10 1 begins poll", "10 1 ends poll")
        assert seen.models([10]) == ["poll"]


def test_witness_leaves_out_processes_that_are_gone_and_lines_that_are_none():
    with witness() as seen:
        write(seen.path, "10 1 begins poll", "11 1 begins uring", "", "x y z w", "10 3")
        assert seen.models([11, 12]) == ["uring"]


def test_witness_takes_its_file_along_and_everybody_may_write_it():
    with witness() as seen:
        assert os.stat(seen.path).st_mode & 0o022 == 0o022
    assert not os.path.exists(seen.path)


@pytest.mark.parametrize(
    ("contender", "models", "words"),
    [
        (EPOLL, ["epoll"], None),
        (PLAIN, [], None),
        (Contender("uvloop", "peer"), [], None),
        (EPOLL, [], "COMMAND made no headrace loop"),
        (EPOLL, ["poll"], "COMMAND ran on poll, not epoll"),
        (EPOLL, ["epoll", "poll"], "COMMAND ran on epoll and poll, not epoll"),
        (PLAIN, ["uring"], "COMMAND ran on uring, not asyncio"),
    ],
)
def test_proof_contradicts_figures_of_something_else(contender, models, words):
    found = contradiction(contender, models)
    assert (found is None) if words is None else found.startswith(words)


def test_proof_quotes_a_python_that_could_not_load_headrace():
    said = "headrace: not active in /usr/bin/python3.9: ImportError"
    assert contradiction(EPOLL, [], said) == f"COMMAND made no headrace loop: {said}"
    assert contradiction(EPOLL, ["epoll"], said) is None  # a helper of COMMAND's, not its server
