"""What is said of asyncio's event loop, tried on headrace's; on stock asyncio if it says so"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import queue
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import headrace
from headrace.claims import verdicts
from headrace.claims.claim import HOLDS, REFUTED, UNDECIDED, Finding, Scale, claim
from headrace.claims.measure import costs_ns, ratio
from headrace.claims.sources import (
    NotDecidableError,
    expect,
    forked,
    idle_descriptors,
    ready_descriptor,
)

GROUP = "The event loop"
TICK_S = 0.002
TICKS_AT_LEAST = 3
"""So often another coroutine has run at the least if it was not stopped; it could 100 times."""

SELECTED = 500
CLEARLY = 1.5
"""From this ratio on one is called better than the other."""

Work = Callable[[], Awaitable[object]]


def ticks_during(work: Work) -> int:
    """How often another coroutine ran while this one worked."""

    async def tick(count: list[int]) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            count[0] += 1

    async def both() -> int:
        count = [0]
        ticking = asyncio.ensure_future(tick(count))
        await asyncio.sleep(5 * TICK_S)
        before = count[0]
        await work()
        found = count[0] - before
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        return found

    return headrace.run(both())


def stopped_by(who: str, stops: Work, other: str, free: Work) -> Finding:
    """That the one stops every coroutine, and the other none."""
    stopped, went_on = ticks_during(stops), ticks_during(free)
    number = f"others ran {stopped} times during {who}, {went_on} times during {other}"
    figures = {"ticks_stopped": stopped, "ticks_free": went_on}
    return Finding(verdicts.all_of(verdicts.counted(stopped == 0), ran(went_on)), number, figures)


def ran(ticks: int) -> str:
    """That others ran meanwhile; once or twice may be the beginning and the end of it."""
    return HOLDS if ticks >= TICKS_AT_LEAST else UNDECIDED if ticks else REFUTED


@claim(
    "time-sleep-stops-all", 1,
    sentence="python的time.sleep()与asyncio.sleep()不兼容，会在休眠时间内停止所有运行的内容",
    english="time.sleep() stops everything for its time, as asyncio.sleep() does not",
    reading="How often another coroutine, which wants to run every 2 ms, ran meanwhile.",
)  # fmt: skip
def time_sleep_stops_all(scale: Scale) -> Finding:
    async def sleep_all() -> None:
        time.sleep(2 * scale.wait_s)

    return stopped_by(
        "time.sleep()", sleep_all,
        "asyncio.sleep()", lambda: asyncio.sleep(2 * scale.wait_s),
    )  # fmt: skip


@contextmanager
def slow_http(delay_s: float, answers: int) -> Iterator[tuple[str, int]]:
    """A server in a child that answers each of so many requests after a while."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(answers):
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    time.sleep(delay_s)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        with forked(serve):
            yield listener.getsockname()


@claim(
    "blocking-http-stops-all", 1,
    sentence="Python的requests模块与异步IO不兼容；默认情况下，socket操作处于阻塞状态",
    english="requests does not fit asyncio: it is built on http and socket, which block",
    reading="A request by http.client, which requests uses in the end, to a server that takes its"
    " time; against the same with await in a thread of its own (asyncio.to_thread).",
)  # fmt: skip
def blocking_http_stops_all(scale: Scale) -> Finding:
    with slow_http(2 * scale.wait_s, 2) as address:

        async def ask() -> None:
            http_get(address)

        return stopped_by(
            "http.client", ask,
            "the same in a thread", lambda: asyncio.to_thread(http_get, address),
        )  # fmt: skip


def http_get(address: tuple[str, int]) -> None:
    connection = http.client.HTTPConnection(*address)
    try:
        connection.request("GET", "/")
        expect(connection.getresponse().read(), b"ok")
    finally:
        connection.close()


@claim(
    "aiohttp-stops-none", 1,
    sentence="使用requests与asyncio不兼容，使用aiohttp模块；aiohttp是一个可等待的协程",
    english="Use aiohttp in place of requests: it can be awaited",
    reading="The same request by aiohttp. Where aiohttp is not installed there is nothing to"
    " decide.",
)  # fmt: skip
def aiohttp_stops_none(scale: Scale) -> Finding:
    try:
        import aiohttp
    except ModuleNotFoundError:
        raise NotDecidableError("aiohttp is not installed: pip install aiohttp") from None
    with slow_http(2 * scale.wait_s, 1) as (host, port):

        async def ask() -> None:
            url = f"http://{host}:{port}/"
            async with aiohttp.ClientSession() as session, session.get(url) as reply:
                expect(await reply.read(), b"ok")

        ticks = ticks_during(ask)
    number = f"others ran {ticks} times during aiohttp's request"
    return Finding(ran(ticks), number, {"ticks": ticks})


@claim(
    "queue-is-thread-safe", 1,
    sentence="使用队列queuq.Queue以保证线程安全",
    english="Use queue.Queue to be safe with threads",
    reading="Between threads nothing is lost. In a coroutine its get() is a blocking call and"
    " stops all others while it waits; there asyncio.Queue belongs.",
)  # fmt: skip
def queue_is_thread_safe(scale: Scale) -> Finding:
    each, workers = 2000, 4
    channel: queue.Queue[int] = queue.Queue()

    def put_all() -> None:
        for _ in range(each):
            channel.put(1)

    threads = [threading.Thread(target=put_all) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = channel.qsize()

    async def get() -> None:
        with contextlib.suppress(queue.Empty):
            queue.Queue[int]().get(timeout=2 * scale.wait_s)

    ticks = ticks_during(get)
    number = (
        f"{kept:,} of {each * workers:,} kept between threads;"
        f" others ran {ticks} times during get()"
    )
    if kept != each * workers:
        return Finding(REFUTED, number)
    return Finding(verdicts.all_of(HOLDS, ran(ticks)), number, {"ticks": ticks})


@claim(
    "timer-makes-future", 1,
    sentence="当一个计时器事件注册时，会创建一个future对象，为这个future对象创建一个回调函数，当时"
    "间到达时，执行这个回调函数，唤醒协程",
    english="Registering a timer creates a future and a callback for it, which wakes the coroutine",
    reading="Futures made by asyncio.sleep() and by call_later(), on stock asyncio: a timer is a"
    " callback with a time; it is sleep() that adds the future.",
)  # fmt: skip
def timer_makes_future(scale: Scale) -> Finding:
    made = [0]

    class Loop(asyncio.SelectorEventLoop):
        def create_future(self) -> asyncio.Future[Any]:
            made[0] += 1
            return super().create_future()

    async def both() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        before = made[0]
        await asyncio.sleep(0.001)
        by_sleep = made[0] - before
        loop.call_later(0, lambda: None)
        return by_sleep, made[0] - before - by_sleep

    by_sleep, by_call_later = run_on(Loop(), both())
    number = f"asyncio.sleep() makes {by_sleep} future, call_later() {by_call_later}"
    verdict = verdicts.all_of(verdicts.counted(by_sleep == 1), verdicts.counted(by_call_later == 1))
    return Finding(verdict, number, {"by_sleep": by_sleep, "by_call_later": by_call_later})


def run_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


@claim(
    "only-timers-and-network", 1,
    sentence="决定了我们能对什么事件进行异步操作，目前只支持定时器和网络IO操作",
    english="The event loop decides what can be asynchronous: so far timers and network I/O alone",
    reading="Tried on stock asyncio: a child process, a pipe and a signal. Regular files are"
    " indeed not among them.",
)  # fmt: skip
def only_timers_and_network(scale: Scale) -> Finding:
    more = {"child": child_status, "pipe": pipe_bytes, "signal": signal_count}
    worked = [name for name, work in more.items() if asyncio.run(work()) == 1]
    return Finding(
        verdicts.counted(not worked), f"works besides: {', '.join(worked)}", {"more": len(worked)}
    )


async def child_status() -> int:
    child = await asyncio.create_subprocess_exec(sys.executable, "-Sc", "raise SystemExit(1)")
    return await child.wait()


async def pipe_bytes() -> int:
    reader, writer = os.pipe()
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(reader, "rb")
    )
    try:
        os.write(writer, b"x")
        return len(await stream.read(1))
    finally:
        os.close(writer)
        transport.close()


async def signal_count() -> int:
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, seen.set)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.wait_for(seen.wait(), 10)
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
    return 1


@claim(
    "loop-is-pluggable", 1,
    sentence="事件循环是可以插入的",
    english="The event loop is pluggable",
    reading="The same coroutine on stock asyncio's loop and on each of headrace's models.",
)  # fmt: skip
def loop_is_pluggable(scale: Scale) -> Finding:
    async def program() -> bytes:
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(b"x")
        answer = await reader.readexactly(1)
        writer.close()
        await writer.wait_closed()
        return answer

    models = [info.name for info in headrace.models() if info.available]
    right = 0
    for name in (None, *models):
        loop = headrace.new_event_loop(name) if name else asyncio.new_event_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.send(b"y")
            right += run_on(loop, program()) == b"y"
    number = f"right on {right} of {len(models) + 1} loops"
    return Finding(verdicts.counted(right == len(models) + 1), number, {"loops": right})


@claim(
    "selectors-choose-best", 3,
    sentence="好在我们有selectors模块，帮我们默认选择当前平台下最合适的",
    english="The selectors module chooses what suits the platform best",
    reading="CPU time of a wait with 500 idle connections and a ready one, of each other selector"
    " that the module has here, divided by that of its choice; epoll-flat says why. It has no"
    " choice for completion: io_uring is not among them.",
)  # fmt: skip
def selectors_choose_best(scale: Scale) -> Finding:
    chosen, others = selectors_here()
    with idle_descriptors(SELECTED) as idle, ready_descriptor() as ready, ExitStack() as stack:
        calls = {}
        for kind in (chosen, *others):
            selector = stack.enter_context(kind())
            for fd in (*idle, ready):
                selector.register(fd, selectors.EVENT_READ)
            expect(len(selector.select(0)), 1)
            calls[kind.__name__] = partial(selector.select, 0)
        costs = costs_ns(calls, scale.rounds, scale.batch_s)
    times = {kind.__name__: ratio(costs[kind.__name__], costs[chosen.__name__]) for kind in others}
    number = f"it chooses {chosen.__name__}; " + ", ".join(
        f"{name} takes {one} times its CPU" for name, one in times.items()
    )
    # "Best": no other one is clearly cheaper.
    parts = [verdicts.at_least(one, 1 / CLEARLY) for one in times.values()]
    figures = {f"ratio_of_{name}": one.middle for name, one in times.items()}
    return Finding(verdicts.all_of(*parts), number, figures)


def selectors_here() -> tuple[type[selectors.BaseSelector], list[type[selectors.BaseSelector]]]:
    """The module's choice, and what else it has on this platform."""
    names = ("SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector")
    kinds = [getattr(selectors, name) for name in names if hasattr(selectors, name)]
    chosen = selectors.DefaultSelector
    return chosen, [kind for kind in kinds if kind is not chosen]
