"""What a readiness model reports, and how often: counted, call by call."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence

from headrace.claims import verdicts
from headrace.claims.claim import UNDECIDED, Finding, Scale, claim
from headrace.claims.kernel_calls import kernel_calls
from headrace.claims.measure import Interval, interleaved, ratio
from headrace.claims.sources import NotDecidableError, expect, pair, pairs

GROUP = "What is reported, and how often"
WAITS = 10
REQUESTS = 200
BIG_BYTES = 4 * 2**20
REPLY = b"x" * 512
KINDS = ("level", "edge")

Run = Callable[[Callable[[], object]], object]
"""Does a step, and counts or does not count what it calls."""


@claim(
    "edge-once", 3,
    sentence="只告诉进程哪些文件描述符刚刚变为就绪状态，它只说一遍，如果我们没有采取行动，那么它将"
    "不会再次告知",
    english="Edge-triggered epoll says once that a descriptor became ready, and not again",
    reading="Reports in ten waits while nobody reads. New data is a new edge: it is reported"
    " though the old was not read, which the second number shows.",
)  # fmt: skip
def edge_once(scale: Scale) -> Finding:
    with pair() as (ours, theirs), select.epoll() as poller:
        poller.register(ours, select.EPOLLIN | select.EPOLLET)
        theirs.send(b"x")
        reports = sum(len(poller.poll(0)) for _ in range(WAITS))
        theirs.send(b"y")
        again = sum(len(poller.poll(0)) for _ in range(WAITS))
    number = f"{reports} report in {WAITS} waits; {again} more when more came"
    return Finding(verdicts.counted(reports == 1), number, {"reports": reports, "again": again})


@claim(
    "level-until-drained", 3,
    sentence="epoll可以同时支持水平触发和边缘触发",
    english="epoll supports level-triggered and edge-triggered at the same time",
    reading="Two sockets in one epoll instance, one of each kind, both ready and not read: level"
    " is reported at each wait until it is drained, edge once.",
)  # fmt: skip
def level_until_drained(scale: Scale) -> Finding:
    with pair() as (level, level_peer), pair() as (edge, edge_peer), select.epoll() as poller:
        poller.register(level, select.EPOLLIN)
        poller.register(edge, select.EPOLLIN | select.EPOLLET)
        level_peer.send(b"x")
        edge_peer.send(b"x")
        seen = Counter(fd for _ in range(WAITS) for fd, _ in poller.poll(0))
        level.recv(1)
        drained = len(poller.poll(0))
        counts = (seen[level.fileno()], seen[edge.fileno()], drained)
    number = f"in {WAITS} waits level {counts[0]} times, edge {counts[1]}; drained: {drained}"
    return Finding(
        verdicts.counted(counts == (WAITS, 1, 0)), number, {"level": counts[0], "edge": counts[1]}
    )


@claim(
    "edge-faster", 3,
    sentence="理论上边缘触发的性能要更高一些，但是代码实现相当复杂",
    english="In theory edge-triggered performs somewhat better, but is rather complex to program",
    reading="System calls, as the kernel counts them, of one request and short reply, and of one"
    " reply of 4 MiB to a slow reader. Edge pays a recv more to see the end of what is there, and"
    " saves the epoll_ctl calls that turn the interest in writing on and off. Time, of the short"
    " ones: edge divided by level.",
)  # fmt: skip
def edge_faster(scale: Scale) -> Finding:
    times = edge_time(scale)
    beside = f"time {times}"
    try:
        short = {kind: calls_of_short(kind) for kind in KINDS}
        big = {kind: calls_of_big(kind) for kind in KINDS}
    except NotDecidableError as error:
        return Finding(UNDECIDED, f"{error}; {beside}", {"time_ratio": times.middle})
    number = (
        f"calls: short {short['level']:.2f} level, {short['edge']:.2f} edge; big {big['level']}"
        f" level, {big['edge']} edge; {beside}"
    )
    figures = {f"short_{kind}_calls": value for kind, value in short.items()}
    figures |= {f"big_{kind}_calls": value for kind, value in big.items()}
    better = (short["edge"] < short["level"], big["edge"] < big["level"])
    verdict = verdicts.all_of(*(verdicts.counted(one) for one in better))
    return Finding(verdict, number, figures | {"time_ratio": times.middle})


def edge_time(scale: Scale) -> Interval:
    """CPU time of a short request with edge, divided by level's."""

    def sample(kind: str) -> float:
        start = time.thread_time_ns()
        serve_short(kind, REQUESTS, lambda step: step())
        return float(time.thread_time_ns() - start)

    found = interleaved(
        {"level": lambda: sample("level"), "edge": lambda: sample("edge")}, scale.rounds + 2
    )
    return ratio(found["edge"], found["level"])


def calls_of_short(kind: str) -> float:
    """What the kernel counts for one short request, of the server alone."""
    with kernel_calls() as kernel:
        calls: list[int] = []
        serve_short(kind, REQUESTS, lambda step: calls.append(kernel.of(step)))
    return sum(calls) / REQUESTS


def calls_of_big(kind: str) -> int:
    """What the kernel counts for one big reply, of the server alone."""
    with kernel_calls() as kernel:
        calls: list[int] = []
        send_big(kind, lambda step: calls.append(kernel.of(step)))
    return sum(calls)


def serve_short(kind: str, requests: int, run: Run) -> None:
    """Answers so many requests; what the server does for one is a step."""
    is_edge = kind == "edge"
    with pair(blocking=False) as (server, client), select.epoll() as poller:

        def answer() -> None:
            poller.poll(0)
            with contextlib.suppress(BlockingIOError):
                server.send(server.recv(4096))
                while is_edge:
                    server.send(server.recv(4096))

        poller.register(server, select.EPOLLIN | (select.EPOLLET if is_edge else 0))
        for _ in range(requests):
            client.send(REPLY)
            run(answer)
            client.recv(4096)


def send_big(kind: str, run: Run) -> None:
    """Sends more than fits to a reader that is always behind; all that the sender does is steps.

    A send that takes a part has met a full buffer: neither kind tries once more to be told so.
    """
    rest = memoryview(bytes(BIG_BYTES))
    with pair(blocking=False) as (server, client), select.epoll() as poller:

        def send() -> None:
            nonlocal rest
            rest = rest[server.send(rest) :]

        def wait_and_send() -> None:
            expect(poller.poll(10), [(server.fileno(), select.EPOLLOUT)])
            send()

        if kind == "edge":
            run(lambda: poller.register(server, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET))
        else:
            run(lambda: poller.register(server, select.EPOLLIN))
        run(send)
        if kind == "level":
            run(lambda: poller.modify(server, select.EPOLLIN | select.EPOLLOUT))
        while rest:
            drain(client)
            run(wait_and_send)
        if kind == "level":
            run(lambda: poller.modify(server, select.EPOLLIN))


def fill(target: socket.socket) -> None:
    """Sends until the socket takes no more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            target.send(REPLY)


def drain(source: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while source.recv(2**20):
            pass


@claim(
    "epoll-two-events", 1,
    sentence="epoll只关心缓冲区非满和缓冲区非空事件",
    english="epoll cares only for buffers that are not full and buffers that are not empty",
    reading="It reports urgent data, a half-close and a hang-up as well, each by a bit of its own.",
)  # fmt: skip
def epoll_two_events(scale: Scale) -> Finding:
    more = {"EPOLLRDHUP": half_closed(), "EPOLLHUP": hung_up(), "EPOLLPRI": urgent()}
    seen = [name for name, is_seen in more.items() if is_seen]
    return Finding(
        verdicts.counted(not seen), f"reported besides: {', '.join(seen)}", {"more": len(seen)}
    )


def reported(watched: socket.socket, interest: int) -> int:
    with select.epoll() as poller:
        poller.register(watched, interest)
        return next((events for _, events in poller.poll(1)), 0)


def half_closed() -> bool:
    with pair() as (ours, theirs):
        theirs.shutdown(socket.SHUT_WR)
        return bool(reported(ours, select.EPOLLRDHUP) & select.EPOLLRDHUP)


def hung_up() -> bool:
    with pair() as (ours, theirs):
        theirs.close()
        return bool(reported(ours, 0) & select.EPOLLHUP)


def urgent() -> bool:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            client.send(b"!", socket.MSG_OOB)
            return bool(reported(server, select.EPOLLPRI) & select.EPOLLPRI)


@claim(
    "eagain", 1,
    sentence="当一个非阻塞流的读写发生缓冲区满或缓冲区非空，write/read会返回-1，并设置error=EAGAIN",
    english="On a non-blocking stream, write on a full and read on a non-empty buffer give EAGAIN",
    reading="Half of it: write on a full buffer does; read does on an empty one, and on a"
    " non-empty one it gives the data.",
)  # fmt: skip
def eagain(scale: Scale) -> Finding:
    with pair(blocking=False) as (ours, theirs):
        empty = is_refused(lambda: ours.recv(1))
        theirs.send(b"x")
        non_empty = is_refused(lambda: ours.recv(1))
        fill(ours)
        full = is_refused(lambda: ours.send(b"x"))
    words = {True: "EAGAIN", False: "no error"}
    number = (
        f"write when full: {words[full]}; read when non-empty: {words[non_empty]},"
        f" when empty: {words[empty]}"
    )
    return Finding(verdicts.all_of(verdicts.counted(full), verdicts.counted(non_empty)), number)


def is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except BlockingIOError:
        return True
    return False


@claim(
    "select-signals", 3,
    sentence="内核空间的fd响应到数据后，就会发送信号给用户进程数据已到",
    english="(Of select:) when data has come the kernel sends the process a signal",
    reading="All signals are blocked, so that one that is sent would stay pending: none is. The"
    " kernel wakes the thread, and the call returns. Signals are the signal-driven model's.",
)  # fmt: skip
def select_signals(scale: Scale) -> Finding:
    everything = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    try:
        with pair() as (ours, theirs):
            theirs.send(b"x")
            is_ready = bool(select.select([ours], [], [], 0)[0])
            pending = len(signal.sigpending())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    expect(is_ready, True)
    return Finding(
        verdicts.counted(pending > 0),
        f"{pending} signals pending, data ready",
        {"signals": pending},
    )


@claim(
    "select-two-calls", 3,
    sentence="这里需要使用两个系统调用(select和recvfrom)，而blocking IO只调用了一个系统调用"
    "(recvfrom)",
    english="This takes two system calls (select and recvfrom), blocking I/O only one",
    reading="Calls for each message received, as the kernel counts them. The select is shared by"
    " all that are ready at once.",
)  # fmt: skip
def select_two_calls(scale: Scale) -> Finding:
    alone, many = calls_a_message(receive_selected, 1), calls_a_message(receive_selected, 100)
    blocking = calls_a_message(receive_each, 1)
    number = (
        f"{alone:.2f} calls a message with 1 ready, {many:.2f} with 100 ready;"
        f" blocking {blocking:.2f}"
    )
    figures = {"alone": alone, "with_100": many, "blocking": blocking}
    are_two = [verdicts.counted((one, blocking) == (2, 1)) for one in (alone, many)]
    return Finding(verdicts.all_of(*are_two), number, figures)


def receive_selected(sources: Sequence[socket.socket]) -> None:
    receive_each(select.select(sources, [], [], 0)[0])


def receive_each(sources: Sequence[socket.socket]) -> None:
    for source in sources:
        source.recv(1)


def calls_a_message(receive: Callable[[Sequence[socket.socket]], None], ready: int) -> float:
    """What the kernel counts for each of so many messages that are there; the least of 3 tries."""
    counts = []
    with pairs(ready) as found, kernel_calls() as kernel:
        for _ in range(3):
            for _, theirs in found:
                theirs.send(b"x")
            counts.append(kernel.of(lambda: receive([ours for ours, _ in found])))
    return min(counts) / ready
