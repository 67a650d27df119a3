"""Two ways to serve the same connections: a thread for each, or one thread with epoll.

The server is a child, so that its CPU time is its own; the load comes from this process, which
always has one request outstanding on each connection. Two servers are measured in turns.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from headrace.claims import verdicts
from headrace.claims.claim import Curve, Finding, Scale, claim
from headrace.claims.measure import interleaved, interval, medians, ratio, ratios
from headrace.claims.sources import forked, pairs, receive_exactly

GROUP = "Threads or one loop"
REQUEST = b"a request of the usual kind\n"
SLOW = b"s"
CPU_CLOCK = 2  # CPUCLOCK_SCHED of <linux/posix-timers.h>
COUNTS = (1, 2, 4, 8, 16, 64, 256)
COUNTS_SMALLEST = (1, 16)
REQUESTS = 400
MANY = 256
BEHIND = 0.95
BESIDE = 0.5
"""The quick request is sent after a tenth of the slow one's time."""
CLEARLY = 1.5
"""From this ratio on one is called better than the other."""

Serve = Callable[[Sequence[socket.socket]], None]


def answer(connection: socket.socket) -> bool:
    """Reads one request and answers it; False at the end.  A slow one takes as long as it says."""
    data = connection.recv(4096)
    if not data:
        return False
    if data.startswith(SLOW):
        time.sleep(float(data[1:]))
    connection.sendall(data.upper())
    return True


def serve_with_threads(connections: Sequence[socket.socket]) -> None:
    def serve(connection: socket.socket) -> None:
        while answer(connection):
            pass

    threads = [threading.Thread(target=serve, args=(one,)) for one in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def serve_with_epoll(connections: Sequence[socket.socket]) -> None:
    known = {one.fileno(): one for one in connections}
    with select.epoll() as poller:
        for fd in known:
            poller.register(fd, select.EPOLLIN)
        while known:
            for fd, _ in poller.poll():
                if not answer(known[fd]):
                    poller.unregister(fd)
                    del known[fd]


STYLES: dict[str, Serve] = {"threads": serve_with_threads, "epoll": serve_with_epoll}


class Load:
    """One server in a child, and our ends of its connections."""

    def __init__(self, stack: ExitStack, style: str, count: int) -> None:
        found = stack.enter_context(pairs(count))
        self.ours = {ours.fileno(): ours for ours, _ in found}

        def serve() -> None:
            for ours, _ in found:
                ours.close()
            STYLES[style]([theirs for _, theirs in found])

        self.pid = stack.enter_context(forked(serve))
        for _, theirs in found:
            theirs.close()
        self.poller = stack.enter_context(select.epoll())
        for fd in self.ours:
            self.poller.register(fd, select.EPOLLIN)
        self.run(2 * count)  # every thread has started by then

    def run(self, requests: int) -> None:
        """So many requests and replies, one outstanding on each connection."""
        started = outstanding = 0
        for ours in list(self.ours.values())[:requests]:
            ours.send(REQUEST)
            started, outstanding = started + 1, outstanding + 1
        while outstanding:
            for fd, _ in self.poller.poll():
                receive_exactly(self.ours[fd], len(REQUEST))
                outstanding -= 1
                if started < requests:
                    self.ours[fd].send(REQUEST)
                    started, outstanding = started + 1, outstanding + 1

    def cpu_us(self, requests: int) -> float:
        """CPU time of the server for one request, all its threads."""
        clock = (~self.pid << 3) | CPU_CLOCK
        start = time.clock_gettime_ns(clock)
        self.run(requests)
        return (time.clock_gettime_ns(clock) - start) / 1e3 / requests


def cpu_at(scale: Scale, *counts: int) -> dict[tuple[str, int], list[float]]:
    """CPU time of one request by style and number of connections, all of them in turns."""
    with ExitStack() as stack:
        # One core for both ends: waking another core costs what the machine happens to charge.
        stack.enter_context(one_core())
        loads = {(style, count): Load(stack, style, count) for count in counts for style in STYLES}
        return interleaved(
            {key: partial(load.cpu_us, max(REQUESTS, 2 * key[1])) for key, load in loads.items()},
            scale.rounds,
        )


@contextmanager
def one_core() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@claim(
    "threads-when-few", 3, 5,
    sentence="如果处理的连接数不是很高的话，使用select/epoll的web server不一定比使用"
    "multi-threading + blocking IO的web server性能更好",
    english="With not so many connections select/epoll need not perform better than threads that"
    " block",
    reading="Server CPU of a request, epoll divided by threads, at one connection: above 1"
    " threads are cheaper (2 calls a request, epoll needs 3). The crossover is where the curves"
    " meet; here Python's threads also pay for their common lock.",
)  # fmt: skip
def threads_when_few(scale: Scale) -> Finding:
    counts = COUNTS_SMALLEST if scale.name == "smallest" else COUNTS
    # One number of connections after the other: 350 threads at once would be another experiment.
    costs = {key: each for count in counts for key, each in cpu_at(scale, count).items()}
    ratios = {count: ratio(costs["epoll", count], costs["threads", count]) for count in counts}
    middle = medians(costs)
    lines = {style: [(float(count), middle[style, count]) for count in counts] for style in STYLES}
    crossover = crossover_of({count: one.high for count, one in ratios.items()})
    where = f"epoll is cheaper from {crossover} on" if crossover else f"none up to {counts[-1]}"
    number = f"at 1 connection epoll takes {ratios[1]} times threads' CPU; crossover: {where}"
    figures = {f"ratio_at_{count}": one.middle for count, one in ratios.items()}
    # "Need not be better": it holds unless epoll is clearly cheaper with one connection already.
    verdict = verdicts.at_least(ratios[1], 1 / CLEARLY)
    return Finding(
        verdict, number, figures, Curve("connections", "server CPU, µs a request", lines)
    )


def crossover_of(highest: dict[int, float]) -> int | None:
    """From how many connections on the ratio stays below 1 for certain."""
    found = None
    for count in sorted(highest, reverse=True):
        if highest[count] >= 1:
            break
        found = count
    return found


@claim(
    "loop-when-many", 3, 5,
    sentence="select/epoll的优势并不是对于单个连接能处理得更快，而是在于能处理更多的连接",
    english="select/epoll's advantage is not one connection served faster but more connections"
    " served",
    reading="CPU of a request with 256 busy connections, threads divided by epoll, and the same"
    " with one connection: the advantage grows with the connections.",
)  # fmt: skip
def loop_when_many(scale: Scale) -> Finding:
    costs = cpu_at(scale, 1, MANY)
    one, more = (ratios(costs["threads", count], costs["epoll", count]) for count in (1, MANY))
    growth = ratio(more, one)
    number = (
        f"threads take {interval(one)} times epoll's CPU with 1 connection, {interval(more)} times"
        f" with {MANY}: {growth} times that"
    )
    figures = {"ratio_one": interval(one).middle, "ratio_many": interval(more).middle}
    return Finding(verdicts.at_least(growth, 1.2), number, figures | {"growth": growth.middle})


def answered_behind_slow(style: str, slow_s: float) -> float:
    """When a quick request is answered, as a share of the time of a slow one that came first."""
    with ExitStack() as stack:
        load = Load(stack, style, 2)
        first, second = load.ours.values()
        request = SLOW + str(slow_s).encode()
        start = time.monotonic()
        first.send(request)
        time.sleep(slow_s / 10)  # it is being served
        second.send(REQUEST)
        receive_exactly(second, len(REQUEST))
        taken_s = time.monotonic() - start
        receive_exactly(first, len(request))
    return taken_s / slow_s


@claim(
    "big-handler", 3,
    sentence="该模型将事件探测和事件响应夹杂在一起，一旦事件响应的执行体庞大，则对整个模型是灾难性"
    "的",
    english="Detection and response are mixed: one long handler is a disaster for the whole model",
    reading="When another connection's quick request is answered, which came after a tenth of the"
    " slow one's time.",
)  # fmt: skip
def big_handler(scale: Scale) -> Finding:
    slow_s = 3 * scale.wait_s
    share = answered_behind_slow("epoll", slow_s)
    number = (
        f"a quick request is answered after {share * 100:.0f} % of the slow one's {slow_s:.1f} s"
    )
    return Finding(verdicts.share_above(share, BEHIND, BESIDE), number, {"share": share})


@claim(
    "threads-isolate", 3,
    sentence="让每个连接都拥有独立的线程（或进程），这样任何一个连接的阻塞都不会影响其他的连接",
    english="With a thread for each connection, none that blocks affects the others",
    reading="The same as big-handler, on a thread for each connection. The slow one sleeps; one"
    " that computes in Python would hold the interpreter's lock.",
)  # fmt: skip
def threads_isolate(scale: Scale) -> Finding:
    slow_s = 3 * scale.wait_s
    share = min(answered_behind_slow("threads", slow_s) for _ in range(3))
    number = (
        f"a quick request is answered after {share * 100:.0f} % of the slow one's {slow_s:.1f} s"
    )
    return Finding(verdicts.share_below(share, BEHIND, BESIDE), number, {"share": share})
