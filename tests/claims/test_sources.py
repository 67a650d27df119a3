"""What experiments are built from: descriptors, children, sets, and where curves cross."""

import os
import select
import socket
import time

import pytest

from headrace.claims import sources
from headrace.claims.native import DescriptorSet, poll_call, select_call
from headrace.claims.scanning import FEWEST, sizes
from headrace.claims.servers import crossover_of
from headrace.claims.sources import NotDecidableError


def test_forked_child_is_killed_and_reaped_at_the_end_of_the_block():
    with sources.forked(lambda: time.sleep(1000)) as pid:
        assert os.path.exists(f"/proc/{pid}")
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)


def test_forked_child_is_killed_where_the_block_fails():
    with pytest.raises(KeyError):
        with sources.forked(lambda: time.sleep(1000)) as pid:
            raise KeyError
    assert not os.path.exists(f"/proc/{pid}")


def test_forked_child_never_returns_into_the_callers_program():
    def fail() -> None:
        raise KeyError("in the child")

    reader, writer = os.pipe()
    with sources.forked(fail):
        os.close(writer)
        assert os.read(reader, 1) == b""  # the child has ended, and wrote nothing
    os.close(reader)


def test_pairs_beyond_the_limit_are_not_decidable(monkeypatch):
    monkeypatch.setattr(sources, "descriptors_granted", lambda wanted: 10)
    with pytest.raises(NotDecidableError, match="40 sockets need more than ulimit -Hn"):
        with sources.pairs(20):
            pass


def test_idle_descriptors_are_as_many_as_asked_and_not_ready():
    with sources.idle_descriptors(7) as found:
        assert len(set(found)) == 7
        assert select.select(found, [], [], 0)[0] == []


def test_receive_exactly_says_what_was_missing():
    with sources.pair() as (ours, theirs):
        theirs.send(b"abc")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError, match="after 3 of 5 bytes"):
            sources.receive_exactly(ours, 5)


@pytest.mark.parametrize("members", [[], [0], [63, 64], [5, 70, 1023]])
def test_descriptor_set_has_the_members_it_was_given(members):
    assert DescriptorSet(members).members() == members


@pytest.mark.parametrize("watch", [select_call, poll_call])
def test_call_answers_how_many_are_ready_each_time(watch):
    with sources.idle_descriptors(3) as idle, sources.ready_descriptor() as ready:
        call = watch([*idle, ready])
        assert [call() for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("most", [512, 1000, 10_000])
def test_sizes_rise_evenly_up_to_the_most(most):
    found = sizes(most)
    assert (found[0], found[-1]) == (FEWEST, most)
    assert found == sorted(set(found))
    assert len(found) >= 3


@pytest.mark.parametrize("most", [-60, 0, FEWEST])
def test_sizes_of_too_few_descriptors_are_not_decidable(most):
    with pytest.raises(NotDecidableError, match="needs more than 64 descriptors"):
        sizes(most)


@pytest.mark.parametrize(
    ("highest", "crossover"),
    [
        ({1: 1.1, 2: 1.05, 4: 0.9, 8: 0.5}, 4),
        ({1: 0.9, 2: 0.8}, 1),
        ({1: 1.1, 2: 0.9, 4: 1.2, 8: 0.5}, 8),
        ({1: 1.1, 2: 1.0}, None),
    ],
)
def test_crossover_is_where_the_ratio_stays_below_one(highest, crossover):
    assert crossover_of(highest) == crossover
