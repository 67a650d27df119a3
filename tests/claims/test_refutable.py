"""Every claim could have come out otherwise: what it measures is replaced by something absurd.

A verdict that does not change with the measurement was written down beforehand. The usual verdicts
are those of docs/claims.md.
"""

import errno
import itertools
import re
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from headrace.claims import (
    asynchronous,
    event_loop,
    limits,
    many,
    notifications,
    phases,
    sets,
    waiting,
)
from headrace.claims.catalogue import CLAIMS
from headrace.claims.claim import HOLDS, REFUTED, SCALES
from headrace.claims.worker import find

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "claims.md").read_text()


class Overlay:
    """A module or a library, some of whose members are replaced."""

    def __init__(self, real, **fakes):
        self.real = real
        vars(self).update(fakes)

    def __getattr__(self, name):
        return getattr(self.real, name)


class Epoll:
    """An epoll that takes everything and answers the same each time."""

    def __init__(self, answer):
        self.answer = answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def register(self, *_):
        pass

    def fileno(self):
        return -1

    def poll(self, *_):
        return self.answer


class Operation:
    """An aio_read that is as far as is said."""

    def __init__(self, error):
        self.error = lambda: error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait(self):
        pass


def always(value):
    return lambda *_, **__: value


def in_turns(*values):
    source = itertools.cycle(values)
    return lambda *_: next(source)


def costs(cost_of):
    """In place of costs_ns(): what a call costs by its key."""
    return lambda calls, *_: {key: [float(cost_of(key))] * 3 for key in calls}


def server_costs(threads, epoll):
    """In place of cpu_at()."""
    cost = {"threads": threads, "epoll": epoll}
    return lambda scale, *counts: {(who, n): [cost[who]] * 3 for who in cost for n in counts}


def epoll_of(module, answer):
    return Overlay(module.select, epoll=lambda: Epoll(answer))


def nothing_started(error):
    @contextmanager
    def reading_nothing():
        yield Operation(error), []

    return reading_nothing


def closing(answer):
    """In place of what runs a coroutine."""

    def run(*closed):
        for one in closed:
            one.close()
        return answer

    return run


def answering(value):
    """A coroutine function."""

    async def answer(*closed):
        for one in closed:
            one.close()
        return value() if callable(value) else value

    return answer


def wrong(loop, work, run_on=event_loop.run_on):
    """Runs it, and has another answer."""
    return run_on(loop, work) and b""


COPIED = phases.Copied(0.0, 0.0)
ASLEEP, AWAKE = always(phases.Waited(1, 1)), always(phases.Waited(0, 1))
COPIES_NOTHING, COPIES_ALL = always((0.0, COPIED)), always((1.0, COPIED))
IN_PROGRESS = errno.EINPROGRESS
NUMBERS = itertools.count()
UNSERVED = {"many.ask_many": lambda count, requests: many.Served(count, 0, 9, 1.0, 1.0)}
SENT_BY_KERNEL = SimpleNamespace(si_pid=0, si_code=1)

# What is measured instead, and what has to be said of it then.
ABSURD = {
    "blocking-both-phases": (
        {"phases.copying_share": COPIES_NOTHING, "phases.waited": AWAKE}, REFUTED),
    "nonblocking-second-phase": (
        {"phases.copying_share": COPIES_NOTHING, "phases.waited": ASLEEP}, REFUTED),
    "multiplexing-blocks-in-wait": ({"phases.sleeps_in_each": always((0, 1))}, REFUTED),
    "signal-driven-synchronous": (
        {"phases.copying_share": COPIES_NOTHING, "phases.waited": ASLEEP}, REFUTED),
    "aio-neither-phase": (
        {"phases.asynchronous_share": COPIES_ALL, "phases.waited": ASLEEP}, REFUTED),
    "only-aio-copies-not": (
        {"phases.copying_share": COPIES_NOTHING, "phases.asynchronous_share": COPIES_ALL},
        REFUTED),
    "nonblocking-burns": ({"waiting.core_wanted": always((0.0, 9))}, REFUTED),
    "select-rests": ({"waiting.core_wanted": always((1.0, 0))}, REFUTED),
    "nap-delays": ({"waiting.delay_s": always(0.001)}, REFUTED),
    "nonblocking-error": ({"waiting.errors_and_sleeps": always((0, 1000))}, REFUTED),
    "send-when-full": ({"waiting.voluntary_switches": always(0)}, REFUTED),
    "accept-like-input": (
        {"waiting.select": Overlay(waiting.select, select=always(([], [], [])))}, REFUTED),
    "sockets-block-by-default": (
        {"waiting.os": Overlay(waiting.os, get_blocking=always(False))}, REFUTED),
    "aio-by-kernel": ({"asynchronous.reading_nothing": nothing_started(0)}, HOLDS),
    "aio-process-never-blocked": (
        {"asynchronous.reading_nothing": nothing_started(IN_PROGRESS)}, HOLDS),
    "aio-signal-by-kernel": (
        {"asynchronous.Asynchronous": always(Operation(0)),
         "asynchronous.signal": Overlay(
             asynchronous.signal, sigtimedwait=always(SENT_BY_KERNEL))}, HOLDS),
    "aio-handed-to-kernel": ({"asynchronous.Asynchronous": always(Operation(0))}, HOLDS),
    "select-scans": ({"scanning.costs_ns": costs(always(100))}, REFUTED),
    "poll-scans": ({"scanning.costs_ns": costs(always(100))}, REFUTED),
    "epoll-flat": ({"scanning.costs_ns": costs(lambda n: n)}, REFUTED),
    "epoll-registers-log": ({"scanning.costs_ns": costs(lambda n: n)}, REFUTED),
    "epoll-wins-idle": (
        {"scanning.costs_ns": costs(lambda who: 10 if who == "epoll" else 1)}, REFUTED),
    "select-wins-active": (
        {"scanning.calls_to_watch_all": always({"select": 1, "epoll": 2}),
         "scanning.calls_to_watch_each": always({"select": 1, "epoll": 2})}, HOLDS),
    "poll-beats-select": ({"scanning.costs_ns": costs(always(100))}, REFUTED),
    "select-limit": ({"limits.watchable": always(True)}, REFUTED),
    "poll-unlimited": ({"limits.libc": Overlay(limits.libc, poll=always(0))}, REFUTED),
    "epoll-limit": (
        {"limits.register_until_refused": always((5, "epoll_ctl", 28))}, REFUTED),
    "file-max-memory": (
        {"limits.Path": always(SimpleNamespace(read_text=always("7")))}, REFUTED),
    "regular-files": ({"limits.select": epoll_of(limits, [])}, REFUTED),
    "poll-copies-always": ({"sets.second_call": always("no error")}, REFUTED),
    "epoll-copies-once": (
        {"sets.select": epoll_of(sets, []),
         "sets.libc": Overlay(sets.libc, epoll_ctl=always(0))}, REFUTED),
    "epoll-mmap": ({"sets.mmap": Overlay(sets.mmap, mmap=always(None))}, HOLDS),
    "epoll-saves-copying": ({"sets.libc": Overlay(sets.libc, epoll_wait=always(3))}, HOLDS),
    "select-overwrites": ({"sets.libc": Overlay(sets.libc, select=always(2))}, REFUTED),
    "poll-keeps-set": ({"sets.libc": Overlay(sets.libc, poll=always(1))}, REFUTED),
    "select-timeout": ({"sets.libc": Overlay(sets.libc, select=always(0))}, REFUTED),
    "select-tells-which": ({"sets.libc": Overlay(sets.libc, select=always(3))}, HOLDS),
    "epoll-names-ready": ({"sets.select": epoll_of(sets, [(0, 1)] * 400)}, REFUTED),
    "edge-once": ({"notifications.select": epoll_of(notifications, [(0, 1)])}, REFUTED),
    "level-until-drained": ({"notifications.select": epoll_of(notifications, [])}, REFUTED),
    "edge-faster": (
        {"notifications.calls_of_short": {"level": 4.0, "edge": 3.0}.get,
         "notifications.calls_of_big": {"level": 40, "edge": 30}.get}, HOLDS),
    "epoll-two-events": ({"notifications.reported": always(0)}, HOLDS),
    "eagain": ({"notifications.is_refused": always(False)}, REFUTED),
    "select-signals": (
        {"notifications.signal": Overlay(notifications.signal, sigpending=always({1}))}, HOLDS),
    "select-two-calls": (
        {"notifications.calls_a_message": in_turns(2.0, 2.0, 1.0)}, HOLDS),
    "threads-when-few": ({"servers.cpu_at": server_costs(1.0, 0.1)}, REFUTED),
    "loop-when-many": ({"servers.cpu_at": server_costs(1.0, 1.0)}, REFUTED),
    "big-handler": ({"servers.answered_behind_slow": always(0.1)}, REFUTED),
    "threads-isolate": ({"servers.answered_behind_slow": always(1.0)}, REFUTED),
    "one-thread-thousands": (UNSERVED, REFUTED),
    "c10k": (UNSERVED, REFUTED),
    "thread-memory": ({"workers.in_child": always(1000.0)}, REFUTED),
    "process-memory": ({"workers.in_child": always(1000.0)}, REFUTED),
    "pool-saves-threads": ({"workers.threads_of_pool": lambda tasks: set(range(tasks))}, REFUTED),
    "pool-helps-to-its-size": ({"workers.pool_time": always(1.0)}, REFUTED),
    "switch-cost": (
        {f"workers.{who}_switch_us": always(1.0) for who in ("thread", "task", "generator")},
        REFUTED),
    "thread-switch-sleeps": ({"workers.voluntary_switches": always(0)}, REFUTED),
    "producer-consumer": (
        {"coroutines.produce_for_thread": lambda items: (sum(range(items)), 0),
         "coroutines.cpu_of": always(1.0)}, REFUTED),
    "switch-in-user-space": ({"coroutines.calls_of": always(10_000)}, REFUTED),
    "order-is-certain": (
        {"coroutines.order_of_workers": answering(lambda: [next(NUMBERS)])}, REFUTED),
    "resumed-from-outermost": ({"coroutines.frames_above": always(1)}, REFUTED),
    "await-rules": (
        {"coroutines.is_refused": always(False),
         "coroutines.inspect": SimpleNamespace(isasyncgenfunction=always(False))}, REFUTED),
    "calling-runs-nothing": ({"coroutines._awaited": answering(0)}, REFUTED),
    "time-sleep-stops-all": ({"event_loop.ticks_during": in_turns(50, 0)}, REFUTED),
    "blocking-http-stops-all": ({"event_loop.ticks_during": in_turns(50, 0)}, REFUTED),
    "aiohttp-stops-none": ({"event_loop.ticks_during": always(0)}, REFUTED),
    "queue-is-thread-safe": ({"event_loop.ticks_during": always(50)}, HOLDS),
    "timer-makes-future": ({"event_loop.run_on": closing((1, 1))}, HOLDS),
    "only-timers-and-network": (
        {f"event_loop.{work}": answering(0)
         for work in ("child_status", "pipe_bytes", "signal_count")}, HOLDS),
    "loop-is-pluggable": ({"event_loop.run_on": wrong}, REFUTED),
    "selectors-choose-best": (
        {"event_loop.costs_ns": costs(lambda who: 10 if who == "EpollSelector" else 1)}, REFUTED),
}  # fmt: skip


def documented_verdict(name: str) -> str:
    (verdict,) = re.findall(rf"^\| `{name}` \|[^|]*\| ([^|]*) \|", DOCUMENTED, re.MULTILINE)
    return verdict


@pytest.mark.parametrize("name", CLAIMS)
def test_claim_says_otherwise_of_an_absurd_measurement(monkeypatch, name):
    fakes, verdict = ABSURD[name]
    for place, fake in fakes.items():
        monkeypatch.setattr(f"headrace.claims.{place}", fake)
    finding = find(CLAIMS[name].experiment, SCALES["smallest"])
    assert finding.verdict == verdict, finding.number
    assert finding.verdict != documented_verdict(name)
