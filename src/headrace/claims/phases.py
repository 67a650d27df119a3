"""Who waits and who copies: the two phases of one read, in the thread that asked for it.

Whether a thread was blocked is counted, not timed: a thread that goes to sleep makes a voluntary
context switch, one that asks and goes on makes none, on however busy a machine. The copying is the
CPU time that the thread spends inside the call that brings the data.

Phase one: a byte that comes later. Phase two: 64 MiB that are there (in the page cache, because no
socket holds so much), read in one call, against a copy of as much that the thread makes by itself:
one read against another would show the same share whoever copied.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import select
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from headrace.claims import verdicts
from headrace.claims.aio import Asynchronous
from headrace.claims.claim import Finding, Scale, claim
from headrace.claims.measure import voluntary_switches
from headrace.claims.sources import NotDecidableError, expect, forked, pair

GROUP = "Who waits, who copies"
BIG_BYTES = 64 * 2**20
SMALLEST_BIG_BYTES = 32 * 2**20
COPIES_FROM = 0.25
"""From this share of a copy's CPU time on the thread has copied by itself."""
COPIES_NOT = 0.1
F_SETSIG = 10
BYTE = b"x"


@dataclass(frozen=True)
class Waited:
    """Phase one: how often the thread slept, and how often it asked."""

    sleeps: int
    calls: int


@dataclass(frozen=True)
class Copied:
    """Phase two: CPU time of the thread, and the time it was in the call."""

    cpu_s: float
    in_call_s: float


def blocking(source: socket.socket) -> int:
    expect(source.recv(1), BYTE)
    return 1


def nonblocking(source: socket.socket) -> int:
    source.setblocking(False)
    calls = 0
    while True:
        calls += 1
        try:
            source.recv(1)
        except BlockingIOError:
            continue
        return calls


def multiplexed(source: socket.socket) -> int:
    source.setblocking(False)
    select.select([source], [], [])
    expect(source.recv(1), BYTE)
    return 2


def signal_driven(source: socket.socket) -> int:
    """Works on until the signal is there; sigpending() is how it looks without being disturbed."""
    number = signal.SIGRTMIN + 2
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    source.setblocking(False)
    try:
        fcntl.fcntl(source, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(source, F_SETSIG, number)
        fcntl.fcntl(source, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
        while number not in signal.sigpending():
            pass
        signal.sigtimedwait([number], 0)
        expect(source.recv(1), BYTE)
    finally:
        # The peer's end is a signal too, and would kill us once it is not blocked any more.
        fcntl.fcntl(source, fcntl.F_SETFL, os.O_NONBLOCK)
        while signal.sigtimedwait([number], 0):
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return 1


def asynchronous(source: socket.socket) -> int:
    with Asynchronous(source.fileno(), 1) as operation:
        while operation.error() == errno.EINPROGRESS:
            pass
        expect(operation.result(), 1)
    return 1


WAITS: dict[str, Callable[[socket.socket], int]] = {
    "blocking": blocking,
    "non-blocking": nonblocking,
    "multiplexing": multiplexed,
    "signal-driven": signal_driven,
    "asynchronous": asynchronous,
}


def waited(scale: Scale, who: str) -> Waited:
    """Phase one: the byte comes after a while, from a child.  The least of three tries counts.

    Of several tries, because a page fault or a lock inside the interpreter may sleep as well.
    """
    return min((wait_once(scale, who) for _ in range(3)), key=lambda one: one.sleeps)


def wait_once(scale: Scale, who: str) -> Waited:
    with pair() as (ours, theirs):

        def send_later() -> None:
            time.sleep(scale.wait_s)
            theirs.send(BYTE)

        with forked(send_later):
            before = voluntary_switches()
            calls = WAITS[who](ours)
            return Waited(voluntary_switches() - before, calls)


@dataclass(frozen=True)
class Big:
    """A file in the page cache, its bytes in memory, and room for as many; all touched already."""

    fd: int
    there: mmap.mmap
    memory: mmap.mmap

    def copy(self) -> None:
        """What the kernel has to do in a read(), done by the thread itself."""
        with memoryview(self.there) as there:
            self.memory[:] = there


@contextmanager
def big_file(scale: Scale) -> Iterator[Big]:
    size = SMALLEST_BIG_BYTES if scale.name == "smallest" else BIG_BYTES
    with (
        tempfile.TemporaryFile() as file,
        mmap.mmap(-1, size) as there,
        mmap.mmap(-1, size) as memory,
    ):
        there[:] = BYTE * size
        file.write(there)
        file.flush()
        expect(os.preadv(file.fileno(), [memory], 0), size)
        yield Big(file.fileno(), there, memory)


def copied(call: Callable[[], object]) -> Copied:
    start, cpu_start = time.perf_counter(), time.thread_time()
    call()
    return Copied(time.thread_time() - cpu_start, time.perf_counter() - start)


def read_now(fd: int, memory: mmap.mmap, flags: int) -> None:
    """One read(2) of everything; RWF_NOWAIT is O_NONBLOCK for files, where the system has it.

    Raises:
        NotDecidableError: it has not, or says that it would have to wait.
    """
    at = 0
    with memoryview(memory) as room:
        while at < len(room):  # a read may be short
            try:
                at += os.preadv(fd, [room[at:]], at, flags)
            except OSError as error:
                if not flags or error.errno not in (errno.EOPNOTSUPP, errno.EAGAIN):
                    raise
                raise NotDecidableError(f"read with RWF_NOWAIT: {error.strerror}") from error


def copying_share(scale: Scale, flags: int = 0) -> tuple[float, Copied]:
    """CPU time of the thread for one read(), against that of a copy; the median of 3."""
    with big_file(scale) as big:
        return share_of(big, lambda: copied(lambda: read_now(big.fd, big.memory, flags)))


def asynchronous_share(scale: Scale) -> tuple[float, Copied]:
    with big_file(scale) as big:
        with Asynchronous(big.fd, 1) as first:
            first.wait()  # the C library's thread is there from now on
        return share_of(big, lambda: copied_asynchronously(big.fd, big.memory))


def share_of(big: Big, measure: Callable[[], Copied]) -> tuple[float, Copied]:
    found = []
    for _ in range(3):
        copy = copied(big.copy)
        this = measure()
        found.append((this.cpu_s / copy.cpu_s, this))
    return sorted(found, key=lambda one: one[0])[1]


def copied_asynchronously(fd: int, memory: mmap.mmap) -> Copied:
    started: list[Asynchronous] = []
    found = copied(lambda: started.append(Asynchronous(fd, len(memory), memory)))
    with started[0] as operation:
        operation.wait()
        expect(operation.result(), len(memory))
    return found


def copies_itself(share: float) -> str:
    """Whether the thread has copied by itself, by its share of a copy's CPU time."""
    return verdicts.share_above(share, COPIES_FROM, COPIES_NOT)


def both_phases(scale: Scale, who: str, share: float, *, sleeps: bool, copies: bool) -> Finding:
    """Finds out whether a model's two phases are as the sentence says."""
    wait = waited(scale, who)
    phase_one = verdicts.counted((wait.sleeps > 0) == sleeps)
    phase_two = copies_itself(share)
    if not copies:
        phase_two = verdicts.opposite(phase_two)
    number = (
        f"phase 1: sleeps {wait.sleeps}, calls {wait.calls:,}; phase 2: {share * 100:.0f} % of a"
        f" copy's CPU time in our thread"
    )
    figures = {"sleeps": wait.sleeps, "calls": wait.calls, "copying_share": share}
    return Finding(verdicts.all_of(phase_one, phase_two), number, figures)


@claim(
    "blocking-both-phases", 3, 5,
    sentence="blocking IO的特点就是在IO执行的两个阶段（等待数据和拷贝数据两个阶段）都被block了",
    english="Blocking I/O is blocked in both phases: waiting for data and copying it",
    reading="Phase 1 sleeps inside recv(). Phase 2 is 64 MiB in one read(), against a copy of as"
    " much from memory to memory: the thread itself copies, and the call does not return before"
    " all is there.",
)  # fmt: skip
def blocking_both_phases(scale: Scale) -> Finding:
    share, _ = copying_share(scale)
    return both_phases(scale, "blocking", share, sleeps=True, copies=True)


@claim(
    "nonblocking-second-phase", 5, 3,
    sentence="用户进程第一个阶段不是阻塞的,需要不断的主动询问kernel数据好了没有；第二个阶段依然总"
    "是阻塞的",
    english="Phase 1 does not block but has to ask the kernel again and again; phase 2 still"
    " blocks",
    reading="Phase 1: never asleep, and so many calls for one byte. Phase 2: the call that finds"
    " the data copies it in our thread, as a blocking one does (read with RWF_NOWAIT).",
)  # fmt: skip
def nonblocking_second_phase(scale: Scale) -> Finding:
    share, _ = copying_share(scale, os.RWF_NOWAIT)
    return both_phases(scale, "non-blocking", share, sleeps=False, copies=True)


@claim(
    "multiplexing-blocks-in-wait", 5, 3, 1,
    sentence="IO多路复用是阻塞在select，epoll这样的系统调用之上，而没有阻塞在真正的I/O系统调用如"
    "recvfrom之上",
    english="Multiplexing blocks in select or epoll, not in the real I/O call such as recvfrom",
    reading="How often the thread slept inside each of the two calls.",
)  # fmt: skip
def multiplexing_blocks_in_wait(scale: Scale) -> Finding:
    tries = [sleeps_in_each(scale) for _ in range(3)]
    in_wait, in_receive = min(one[0] for one in tries), min(one[1] for one in tries)
    number = f"sleeps in select {in_wait}, in recv {in_receive}"
    return Finding(
        verdicts.counted(in_wait > 0 and in_receive == 0),
        number,
        {"sleeps_in_select": in_wait, "sleeps_in_recv": in_receive},
    )


def sleeps_in_each(scale: Scale) -> tuple[int, int]:
    with pair(blocking=False) as (ours, theirs):

        def send_later() -> None:
            time.sleep(scale.wait_s)
            theirs.send(BYTE)

        with forked(send_later):
            start = voluntary_switches()
            select.select([ours], [], [])
            middle = voluntary_switches()
            expect(ours.recv(1), BYTE)
            return middle - start, voluntary_switches() - middle


@claim(
    "signal-driven-synchronous", 5, 2,
    sentence="同步模型 synchronous IO：阻塞IO、非阻塞IO、多路复用IO、信号驱动式IO",
    english="Synchronous: blocking, non-blocking, multiplexed and signal-driven I/O",
    reading="Signal-driven I/O works on in phase 1 and sleeps never; its recv() copies as the"
    " others' do. By POSIX' definition that makes it synchronous.",
)  # fmt: skip
def signal_driven_synchronous(scale: Scale) -> Finding:
    share, _ = copying_share(scale, os.RWF_NOWAIT)
    return both_phases(scale, "signal-driven", share, sleeps=False, copies=True)


@claim(
    "aio-neither-phase", 5, 3, 4,
    sentence="用户进程进行aio_read系统调用之后，无论内核数据是否准备好，都会直接返回给用户进程。IO"
    "两个阶段，进程都是非阻塞的",
    english="aio_read returns at once whether data is there or not; no phase blocks the process",
    reading="So it is for the thread that asked: it neither slept nor copied. Another thread of"
    " the same process did both; see aio-by-kernel.",
)  # fmt: skip
def aio_neither_phase(scale: Scale) -> Finding:
    share, _ = asynchronous_share(scale)
    return both_phases(scale, "asynchronous", share, sleeps=False, copies=False)


@claim(
    "only-aio-copies-not", 3, 5,
    sentence="blocking IO，non-blocking IO，IO multiplexing都属于synchronous IO这一类，而"
    "asynchronous I/O后一类",
    english="Blocking, non-blocking and multiplexed I/O are synchronous, asynchronous I/O is not",
    reading="Phase 2 tells them apart: CPU time of the calling thread for 64 MiB. The first three"
    " end with the same read(), so that one figure stands for all.",
)  # fmt: skip
def only_aio_copies_not(scale: Scale) -> Finding:
    own, its = copying_share(scale)
    other, least = asynchronous_share(scale)
    number = f"read: {its.cpu_s * 1e3:.1f} ms of our thread, aio_read: {least.cpu_s * 1e3:.2f} ms"
    figures = {"read_cpu_s": its.cpu_s, "aio_read_cpu_s": least.cpu_s}
    others = verdicts.opposite(copies_itself(other))
    return Finding(verdicts.all_of(copies_itself(own), others), number, figures)
