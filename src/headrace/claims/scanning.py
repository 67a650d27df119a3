"""What a wait costs when n descriptors are watched: libevent's question, asked of the calls alone.

One descriptor is ready and all others are idle, so that each call answers at once and nothing but
the looking is measured, in CPU time of the calling thread.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from headrace.claims import verdicts
from headrace.claims.claim import DEPENDS, HOLDS, UNDECIDED, Curve, Finding, Points, Scale, claim
from headrace.claims.kernel_calls import calls_of, kernel_calls
from headrace.claims.measure import Slope, costs_ns, log_slope, medians, ratio
from headrace.claims.native import DESCRIPTORS_IN_SET, epoll_call, poll_call, select_call
from headrace.claims.sources import (
    NotDecidableError,
    descriptors_granted,
    expect,
    idle_descriptors,
    pairs,
    ready_descriptor,
)

GROUP = "What a wait costs"
FEWEST = 64
SELECT_MOST = 1000
"""Leaves select room for the descriptors that a process has anyway."""
FACTOR = 2.5
ACTIVE = 10
TINY = 16
CLEARLY = 1.5
"""From this ratio on one is called better than the other."""

Call = Callable[[], int]


def sizes(most: int) -> list[int]:
    """From the fewest to the most, evenly on a logarithmic scale.

    Raises:
        NotDecidableError: there are no two sizes.
    """
    if most <= FEWEST:
        raise NotDecidableError(f"needs more than {FEWEST} descriptors; ulimit -Hn is lower")
    found = [float(FEWEST)]
    while found[-1] * FACTOR < most:
        found.append(found[-1] * FACTOR)
    return [*map(int, found), most]


def watch_epoll(stack: ExitStack, descriptors: Sequence[int]) -> Call:
    poller = stack.enter_context(select.epoll())
    for fd in descriptors:
        poller.register(fd, select.EPOLLIN)
    return epoll_call(poller.fileno())


WATCHES: dict[str, Callable[[ExitStack, Sequence[int]], Call]] = {
    "select": lambda stack, descriptors: select_call(descriptors),
    "poll": lambda stack, descriptors: poll_call(descriptors),
    "epoll": watch_epoll,
}


def growth(scale: Scale, most: int, who: str) -> tuple[Slope, Points]:
    """What one call costs with n descriptors, in µs, and the exponent of its growth."""
    most = descriptors_granted(min(most, scale.descriptors))
    with idle_descriptors(most) as idle, ready_descriptor() as ready, ExitStack() as stack:
        calls = {n: WATCHES[who](stack, [*idle[: n - 1], ready]) for n in sizes(most)}
        costs = medians(costs_ns(calls, scale.rounds, scale.batch_s))
    points = [(float(n), cost / 1e3) for n, cost in costs.items()]
    return log_slope(points), points


def grown(verdict: str, slope: Slope, points: Points, who: str) -> Finding:
    (few, little), (many, much) = points[0], points[-1]
    number = (
        f"n to the power of {slope}: {little:,.1f} µs with {few:,.0f},"
        f" {much:,.1f} µs with {many:,.0f}"
    )
    figures = slope.figures() | {f"cost_of_{n:.0f}_us": cost for n, cost in points}
    curve = Curve("descriptors watched", "µs a call", {who: points})
    return Finding(verdict, number, figures, curve)


@claim(
    "select-scans", 3, 1, 4,
    sentence="每次调用select都需要在内核遍历传递进来的所有fd，这个开销在fd很多时也很大",
    english="Each select makes the kernel walk over all descriptors passed; that is dear with many",
    reading="An exponent near 1: twice the idle descriptors, twice the cost. It ends at 1,023.",
)  # fmt: skip
def select_scans(scale: Scale) -> Finding:
    slope, points = growth(scale, min(SELECT_MOST, DESCRIPTORS_IN_SET - 24), "select")
    return grown(verdicts.grows(slope), slope, points, "select")


@claim(
    "poll-scans", 1, 3,
    sentence="poll 时间复杂度O（n） 本质上和select没有区别",
    english="poll costs O(n); in essence it does not differ from select",
    reading="An exponent near 1, as select's, and it goes on beyond 1,023 descriptors.",
)  # fmt: skip
def poll_scans(scale: Scale) -> Finding:
    slope, points = growth(scale, scale.descriptors, "poll")
    return grown(verdicts.grows(slope), slope, points, "poll")


@claim(
    "epoll-flat", 3, 1, 4,
    sentence="epoll在“醒着”的时候只要判断一下就绪链表是否为空就行了，这节省了大量的CPU时间",
    english="epoll, once awake, looks at the ready list alone, which saves much CPU time",
    reading="An exponent near 0: idle descriptors cost nothing, however many.",
)  # fmt: skip
def epoll_flat(scale: Scale) -> Finding:
    slope, points = growth(scale, scale.descriptors, "epoll")
    return grown(verdicts.is_flat(slope), slope, points, "epoll")


@claim(
    "epoll-registers-log", 1,
    sentence="红黑树本身插入和删除性能都比较好，时间复杂度O(logN)",
    english="Adding to and removing from the red-black tree cost O(log n)",
    reading="One EPOLL_CTL_ADD and one DEL beside n others. log n looks like an exponent of 0.1"
    " to 0.2 here; a list would show 1. It cannot tell log n from a constant.",
)  # fmt: skip
def epoll_registers_log(scale: Scale) -> Finding:
    most = descriptors_granted(scale.descriptors)
    with idle_descriptors(most) as idle, ready_descriptor() as extra, ExitStack() as stack:
        calls = {}
        for n in sizes(most):
            poller = stack.enter_context(select.epoll())
            for fd in idle[:n]:
                poller.register(fd, select.EPOLLIN)
            calls[n] = add_and_remove(poller, extra)
        costs = medians(costs_ns(calls, scale.rounds, scale.batch_s))
    points = [(float(n), cost / 1e3) for n, cost in costs.items()]
    slope = log_slope(points)
    return grown(verdicts.is_flat(slope), slope, points, "epoll_ctl, add and remove")


def add_and_remove(poller: select.epoll, fd: int) -> Callable[[], object]:
    def once() -> None:
        poller.register(fd, select.EPOLLIN)
        poller.unregister(fd)

    return once


def compare_all(scale: Scale, watched: int, active: int) -> dict[str, list[float]]:
    """CPU time in µs for one wait over so many, of which some are ready."""
    if watched < active:
        raise NotDecidableError(f"needs {active} descriptors; ulimit -Hn is lower")
    with ExitStack() as stack:
        busy = stack.enter_context(pairs(active))
        idle = stack.enter_context(idle_descriptors(watched - active))
        for _, theirs in busy:
            theirs.send(b"x")
        descriptors = [*idle, *(ours.fileno() for ours, _ in busy)]
        calls = {who: watch(stack, descriptors) for who, watch in WATCHES.items()}
        for call in calls.values():
            expect(call(), active)
        return costs_ns(calls, scale.rounds, scale.batch_s)


@claim(
    "epoll-wins-idle", 5,
    sentence="并发高的情况下，连接活跃度不是很高：epoll比select好",
    english="With many connections, few of them active, epoll is better than select",
    reading="One wait over as many as select can watch, of which 10 are ready; CPU time of the"
    " wait alone. A request's recv and send come on top, the same for both.",
)  # fmt: skip
def epoll_wins_idle(scale: Scale) -> Finding:
    watched = descriptors_granted(min(SELECT_MOST, scale.descriptors))
    costs = compare_all(scale, watched, ACTIVE)
    times = ratio(costs["select"], costs["epoll"])
    number = f"select costs {times} times epoll's wait, {ACTIVE} of {watched:,} active"
    return Finding(verdicts.at_least(times, CLEARLY), number, {"ratio": times.middle})


@claim(
    "select-wins-active", 5,
    sentence="并发性不高，连接活跃度很高：select比epoll好",
    english="With few connections that are all active, select is better than epoll",
    reading="Calls decide, and the kernel counts them: while connections stay, both need one"
    " wait; each that comes costs epoll one epoll_ctl more. CPU time of one wait over 16 that are"
    " all ready is given beside it.",
)  # fmt: skip
def select_wins_active(scale: Scale) -> Finding:
    costs = compare_all(scale, TINY, TINY)
    times = ratio(costs["select"], costs["epoll"])
    beside = f"time of a wait: {times} times epoll's"
    figures = {"ratio": times.middle}
    try:
        stays, comes = calls_to_watch_all(TINY), calls_to_watch_each(TINY)
    except NotDecidableError as error:
        return Finding(UNDECIDED, f"{error}; {beside}", figures)
    number = (
        f"calls for {TINY} that stay: {stays['select']} and {stays['epoll']}; for {TINY} that come"
        f" and go: {comes['select']} and {comes['epoll']}; {beside}"
    )
    figures |= {f"{who}_calls": count for who, count in comes.items()}
    fewer = [verdicts.counted(one["select"] < one["epoll"]) for one in (stays, comes)]
    return Finding(verdicts.all_of(*fewer), number, figures)


def calls_to_watch_all(count: int) -> dict[str, int]:
    """What the kernel counts for one wait over so many ready ones that were watched before."""
    with pairs(count) as found, select.epoll() as poller:
        for ours, theirs in found:
            theirs.send(b"x")
            poller.register(ours, select.EPOLLIN)
        watched = [ours for ours, _ in found]
        return {
            "select": calls_of(lambda: expect(select.select(watched, [], [], 0)[0], watched)),
            "epoll": calls_of(lambda: expect(len(poller.poll(0)), count)),
        }


def calls_to_watch_each(count: int) -> dict[str, int]:
    """The same for so many of which each comes, is ready once, and goes before the next."""

    def by_select(ours: socket.socket) -> None:
        expect(select.select([ours], [], [], 0)[0], [ours])

    def by_epoll(ours: socket.socket) -> None:
        poller.register(ours, select.EPOLLIN)
        expect(poller.poll(0), [(ours.fileno(), select.EPOLLIN)])

    calls = {"select": 0, "epoll": 0}
    with pairs(count) as found, select.epoll() as poller, kernel_calls() as kernel:
        for ours, theirs in found:
            theirs.send(b"x")
            calls["select"] += kernel.of(partial(by_select, ours))
            calls["epoll"] += kernel.of(partial(by_epoll, ours))
            poller.unregister(ours)  # close() does that, and is the same call for both
    return calls


@claim(
    "poll-beats-select", 3,
    sentence="poll向内核传递pollfd数组，然后对pollfd中的每个描述符进行poll，相比处理fdset来说，"
    "poll效率更高",
    english="poll passes an array of descriptors, and is more efficient than handling an fd_set",
    reading="Of few descriptors with high numbers select looks over all the bits below them, poll"
    " over the few. Where the numbers are dense, select passes a bit for poll's 8 bytes.",
)  # fmt: skip
def poll_beats_select(scale: Scale) -> Finding:
    with idle_descriptors(SELECT_MOST) as idle, ready_descriptor() as ready:
        dense = {who: WATCHES[who](ExitStack(), idle) for who in ("select", "poll")}
        sparse = {who: WATCHES[who](ExitStack(), [ready]) for who in ("select", "poll")}
        calls = {("dense", who): call for who, call in dense.items()}
        calls |= {("sparse", who): call for who, call in sparse.items()}
        # Twice as many rounds: alike is what needs the interval narrow on both sides.
        costs = costs_ns(calls, 2 * scale.rounds, scale.batch_s)
    many = ratio(costs["dense", "select"], costs["dense", "poll"])
    one = ratio(costs["sparse", "select"], costs["sparse", "poll"])
    number = f"select's time is {many} times poll's for 1,000, {one} for one of number ~1,000"
    figures = {"ratio_dense": many.middle, "ratio_sparse": one.middle}
    alike = verdicts.is_alike(many, CLEARLY)
    if verdicts.at_least(one, CLEARLY) == HOLDS and alike == HOLDS:
        return Finding(DEPENDS, number, figures)
    both = (verdicts.at_least(many, CLEARLY), verdicts.at_least(one, CLEARLY))
    return Finding(verdicts.all_of(*both), number, figures)
