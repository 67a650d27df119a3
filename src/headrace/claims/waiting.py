"""Ways to wait: asking again and again, napping in between, and calls that refuse to wait."""

from __future__ import annotations

import errno
import itertools
import os
import random
import select
import socket
import statistics
import time
from collections.abc import Callable

from headrace.claims import verdicts
from headrace.claims.claim import Curve, Finding, Scale, claim
from headrace.claims.measure import interleaved, ratio, voluntary_switches, wanted_core_ns
from headrace.claims.sources import forked, pair

GROUP = "Ways to wait"
BURNS = 0.8
RESTS = 0.2
SEED = 1
NAPS_S = (0.005, 0.02, 0.05)


def core_wanted(scale: Scale, wait: Callable[[socket.socket], None]) -> tuple[float, int]:
    """The share of the waiting in which the thread wanted a core, and how often it slept.

    Wanted, not had: on a busy machine a thread that spins has half a core and wants a whole one.
    """
    with pair() as (ours, theirs):

        def send_later() -> None:
            time.sleep(2 * scale.wait_s)
            theirs.send(b"x")

        with forked(send_later):
            wanted, sleeps = wanted_core_ns(), voluntary_switches()
            start = time.monotonic_ns()
            wait(ours)
            taken = time.monotonic_ns() - start
            return (wanted_core_ns() - wanted) / taken, voluntary_switches() - sleeps


def ask_again(source: socket.socket) -> None:
    source.setblocking(False)
    while True:
        try:
            source.recv(1)
        except BlockingIOError:
            continue
        return


@claim(
    "nonblocking-burns", 3,
    sentence="循环调用recv()将大幅度推高CPU占用率",
    english="Calling recv() in a loop drives CPU usage up",
    reading="The share of the waiting in which the thread ran or was ready to run.",
)  # fmt: skip
def nonblocking_burns(scale: Scale) -> Finding:
    share, sleeps = core_wanted(scale, ask_again)
    number = f"{share * 100:.0f} % of a core wanted while waiting; sleeps {sleeps}"
    return Finding(verdicts.share_above(share, BURNS, RESTS), number, {"core_share": share})


@claim(
    "select-rests", 3,
    sentence="使用select()的事件驱动模型只用单线程（进程）执行，占用资源少，不消耗太多CPU",
    english="The select() model runs in one thread, takes few resources and not much CPU",
    reading="The same waiting with select: so much of a core. While many are active its scan"
    " costs what select-scans shows.",
)  # fmt: skip
def select_rests(scale: Scale) -> Finding:
    def wait(source: socket.socket) -> None:
        select.select([source], [], [])

    # The least of three: once awake, it may have to wait for a core that others have.
    share, sleeps = min(core_wanted(scale, wait) for _ in range(3))
    number = f"{share * 100:.1f} % of a core wanted while waiting; sleeps {sleeps}"
    verdict = verdicts.share_below(share, BURNS, RESTS)
    return Finding(verdict, number, {"core_share": share})


@claim(
    "nap-delays", 3,
    sentence="任务完成的响应延迟增大了，因为每过一段时间才去轮询一次read操作，而任务可能在两次轮询"
    "之间的任意时间完成",
    english="Answers come later, because read is tried only now and then, and data comes in"
    " between",
    reading="From the sending of a byte until it is read, by a reader that naps between its"
    " tries. On average half the nap, against a reader that blocks in recv().",
)  # fmt: skip
def nap_delays(scale: Scale) -> Finding:
    def sampler(nap_s: float) -> Callable[[], float]:
        numbers = itertools.count()
        return lambda: delay_s(nap_s, next(numbers))

    delays = interleaved(
        {nap_s: sampler(nap_s) for nap_s in (0, *NAPS_S)},
        max(5, 2 * scale.rounds),
    )
    blocked_ms = statistics.median(delays[0]) * 1e3
    points = [(nap_s * 1e3, statistics.median(delays[nap_s]) * 1e3) for nap_s in NAPS_S]
    # The longest nap decides: the machine's own delays are far below it.
    times = ratio(delays[NAPS_S[-1]], delays[0])
    number = (
        f"{points[-1][1]:.1f} ms with naps of {points[-1][0]:.0f} ms, {blocked_ms:.2f} ms when"
        f" blocked in recv(): {times} times"
    )
    figures = {f"delay_with_nap_of_{nap:.0f}_ms": delay for nap, delay in points}
    figures |= {"delay_blocked_ms": blocked_ms, "ratio": times.middle}
    curve = Curve("nap, ms", "delay, ms", {"napping reader": points})
    return Finding(verdicts.at_least(times, 2), number, figures, curve)


def delay_s(nap_s: float, number: int) -> float:
    """The delay of one byte, sent at a random moment of the reader's nap; 0 naps never."""
    pause_s = random.Random(SEED + number).uniform(0, max(nap_s, 0.01))
    with pair() as (ours, theirs):

        def send_later() -> None:
            time.sleep(pause_s)
            theirs.send(str(time.monotonic_ns()).encode())

        with forked(send_later):
            ours.setblocking(not nap_s)
            while True:
                try:
                    sent_ns = int(ours.recv(64))
                except BlockingIOError:
                    time.sleep(nap_s)
                    continue
                return (time.monotonic_ns() - sent_ns) / 1e9


@claim(
    "nonblocking-error", 3, 5,
    sentence="如果kernel中的数据还没有准备好，那么它并不会block用户进程，而是立刻返回一个error",
    english="If there is no data yet the call does not block but returns an error at once",
    reading="1,000 recv() on an empty socket: each gives EAGAIN, and the thread never slept.",
)  # fmt: skip
def nonblocking_error(scale: Scale) -> Finding:
    wanted = 1000
    with pair(blocking=False) as (ours, _):
        tries = [errors_and_sleeps(ours, wanted) for _ in range(3)]
    errors, sleeps = min(tries, key=lambda one: one[1])
    number = f"{errors:,} of {wanted:,} calls gave EAGAIN; sleeps {sleeps}"
    return Finding(verdicts.counted(errors == wanted and sleeps == 0), number, {"errors": errors})


def errors_and_sleeps(source: socket.socket, wanted: int) -> tuple[int, int]:
    errors, before = 0, voluntary_switches()
    for _ in range(wanted):
        try:
            source.recv(1)
        except BlockingIOError:
            errors += 1
    return errors, voluntary_switches() - before


@claim(
    "send-when-full", 3,
    sentence="在发送缓冲区满了会阻塞在原地，如果设置为非阻塞，则会抛出异常",
    english="With a full send buffer the call blocks; set to non-blocking it raises an exception",
    reading="And before that comes what the notes' programs miss: a send that takes a part,"
    " without any exception. The blocking one took all, and slept for it.",
)  # fmt: skip
def send_when_full(scale: Scale) -> Finding:
    size = 2**20
    with pair(blocking=False) as (ours, _):
        part = ours.send(bytes(size))
        raised = 0
        try:
            while True:
                ours.send(bytes(size))
        except BlockingIOError:
            raised = 1
    with pair() as (ours, theirs):

        def receive_all() -> None:
            time.sleep(scale.wait_s)
            left = size
            while left > 0:
                left -= len(theirs.recv(2**16))

        with forked(receive_all):
            before = voluntary_switches()
            whole = ours.send(bytes(size))
            sleeps = voluntary_switches() - before
    number = f"1 MiB: {part:,} bytes taken, then EAGAIN; blocking: all {whole:,}, sleeps {sleeps}"
    is_so = bool(raised) and whole == size and sleeps > 0
    return Finding(verdicts.counted(is_so), number, {"part": part, "sleeps": sleeps})


@claim(
    "accept-like-input", 3,
    sentence="接收外来链接：accept，与输入操作类似；发起外出链接：connect，与输出操作类似",
    english="accept behaves like input, connect like output",
    reading="Non-blocking: accept gives EAGAIN and is awaited as readable; connect gives"
    " EINPROGRESS on TCP and is awaited as writable.",
)  # fmt: skip
def accept_like_input(scale: Scale) -> Finding:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        listener.setblocking(False)
        try:
            listener.accept()
            refused = False
        except BlockingIOError:
            refused = True
        with socket.socket() as client:
            client.setblocking(False)
            started = client.connect_ex(listener.getsockname())
            writable = bool(select.select([], [client], [], 5)[1])
            readable = bool(select.select([listener], [], [], 5)[0])
    name = errno.errorcode.get(started, "0")
    error = "EAGAIN" if refused else "no error"
    number = f"accept: {error}, then readable; connect: {name}, then writable"
    is_so = refused and readable and writable and name in ("EINPROGRESS", "0")
    return Finding(verdicts.counted(is_so), number)


@claim(
    "sockets-block-by-default", 5, 3,
    sentence="在linux中默认情况下所有的socket都是blocking的",
    english="On Linux all sockets are blocking by default",
    reading="O_NONBLOCK of a new socket, of one that was accepted, and of an accepted one whose"
    " listener is non-blocking: Linux passes the flag on to none.",
)  # fmt: skip
def sockets_block_by_default(scale: Scale) -> Finding:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        listener.setblocking(False)
        select.select([listener], [], [], 5)
        fd, _ = listener._accept()  # type: ignore[attr-defined]  # Python's own sets the flag anew
        flags = [os.get_blocking(one) for one in (client.fileno(), fd)]
        os.close(fd)
    number = f"{sum(flags)} of {len(flags)} kinds of new sockets block"
    return Finding(verdicts.counted(all(flags)), number, {"blocking": sum(flags)})
