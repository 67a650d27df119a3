"""What is compared is measured several times in turns, and the whole interval has to be clear."""

import errno
import itertools
import os
import threading

import pytest

from headrace.claims import servers, waiting, workers
from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import HOLDS, REFUTED, SCALES, UNDECIDED
from headrace.claims.sources import NotDecidableError
from headrace.claims.worker import find


def finding(name):
    return find(CLAIMS[name].experiment, SCALES["smallest"])


def cycle(*values):
    """A measurement that gives these values in turns, whatever it is asked."""
    source = itertools.cycle(values)
    return lambda *_: next(source)


@pytest.mark.parametrize(
    ("one", "many", "verdict"),
    [
        ([1, 1, 1], [3, 3, 3], HOLDS),
        ([1, 1, 1], [1, 1, 1], REFUTED),
        ([0.2, 1, 5], [3, 3, 3], UNDECIDED),  # three times as much as what?
        ([1, 1, 1], [0.5, 3, 3], UNDECIDED),
        ([1, 10, 100], [3, 30, 300], HOLDS),  # the machine became slower, for both
    ],
)
def test_loop_when_many_minds_how_uncertain_both_ratios_are(monkeypatch, one, many, verdict):
    costs = {("epoll", 1): [1.0] * 3, ("epoll", 256): [1.0] * 3}
    costs |= {("threads", 1): one, ("threads", 256): many}
    monkeypatch.setattr(servers, "cpu_at", lambda scale, *counts: costs)
    assert finding("loop-when-many").verdict == verdict


@pytest.mark.parametrize(
    ("blocked_s", "verdict"),
    [((0.001, 0.002), HOLDS), ((0.025, 0.02), REFUTED), ((0.0001, 0.1), UNDECIDED)],
)
def test_nap_delays_minds_how_uncertain_the_blocked_delay_is(monkeypatch, blocked_s, verdict):
    blocked = cycle(*blocked_s)
    monkeypatch.setattr(waiting, "delay_s", lambda nap_s, _: nap_s / 2 or blocked())
    assert finding("nap-delays").verdict == verdict


@pytest.mark.parametrize("name", ["thread-memory", "process-memory"])
@pytest.mark.parametrize(
    ("weighed", "verdict"),
    [((1e6, 1e3), HOLDS), ((1e3, 1e3), REFUTED), ((1e6, 1e3, 1e3, 1e3, 1e6, 1e3), UNDECIDED)],
)
def test_memory_is_weighed_several_times(monkeypatch, name, weighed, verdict):
    monkeypatch.setattr(workers, "in_child", cycle(*weighed))
    assert finding(name).verdict == verdict


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [((1, 1, 2, 4), HOLDS), ((1, 1, 1, 1), REFUTED), ((1, 1, 2, 4, 1, 4, 2, 4), UNDECIDED)],
)
def test_pool_is_timed_several_times(monkeypatch, seconds, verdict):
    monkeypatch.setattr(workers, "pool_time", cycle(*seconds))
    assert finding("pool-helps-to-its-size").verdict == verdict


def test_in_child_answers_what_was_weighed_there():
    assert workers.in_child(lambda: 12.5) == 12.5


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (NotDecidableError("no threads"), NotDecidableError, "^no threads$"),
        (MemoryError(), NotDecidableError, "not enough memory"),
        (KeyError("x"), RuntimeError, "ended without an answer"),
    ],
)
def test_in_child_hands_on_why_nothing_was_weighed(error, expected, words):
    def weigh():
        raise error

    with pytest.raises(expected, match=words):
        workers.in_child(weigh)


def after(count, call, error):
    """The call, which fails from then on."""
    numbers = itertools.count()

    def limited(*arguments):
        if next(numbers) >= count:
            raise error
        return call(*arguments)

    return limited


@pytest.mark.parametrize(("started", "words"), [(0, "none could be"), (3, "only 3 could be")])
def test_thread_memory_is_not_decidable_where_no_more_threads_start(monkeypatch, started, words):
    error = RuntimeError("can't start new thread")
    start = after(started, threading.Thread.start, error)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: start(thread))
    found = finding("thread-memory")
    assert found.verdict == UNDECIDED
    assert words in found.number
    assert "can't start new thread" in found.number


@pytest.mark.parametrize(("forks", "words"), [(0, "no child could be started"), (1, "needs 2 ")])
def test_process_memory_is_not_decidable_where_no_more_children_start(monkeypatch, forks, words):
    error = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    monkeypatch.setattr(os, "fork", after(forks, os.fork, error))
    found = finding("process-memory")
    assert found.verdict == UNDECIDED
    assert words in found.number
    assert "Resource temporarily unavailable" in found.number
