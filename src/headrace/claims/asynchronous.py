"""POSIX AIO looked at from outside: the C library's threads, their calls, and their signals."""

from __future__ import annotations

import errno
import os
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_native_id

from headrace.claims import verdicts
from headrace.claims.aio import Asynchronous
from headrace.claims.claim import DEPENDS, Finding, Scale, claim
from headrace.claims.sources import NotDecidableError, pair, pairs

GROUP = "POSIX AIO"
READING_CALLS = {"x86_64": {0: "read", 17: "pread64"}, "aarch64": {63: "read", 67: "pread64"}}
PATIENCE_S = 10
SI_ASYNCIO = -4


def other_threads() -> list[str]:
    """An experiment begins with one thread: what is there besides it has been brought."""
    return [task for task in os.listdir("/proc/self/task") if int(task) != get_native_id()]


@contextmanager
def reading_nothing() -> Iterator[tuple[Asynchronous, list[str]]]:
    """An aio_read that finds no data, and the threads that our process has besides this one."""
    with pair() as (ours, theirs), Asynchronous(ours.fileno(), 1) as operation:
        try:
            yield operation, wait_threads()
        finally:
            theirs.send(b"x")  # ends it
            operation.wait()


def wait_threads() -> list[str]:
    """The other threads, once there is one; none if none comes."""
    end_s = time.monotonic() + 1
    while not other_threads() and time.monotonic() < end_s:
        time.sleep(0.001)
    return other_threads()


def wait_asleep(task: str) -> str:
    """The state of a thread, once it sleeps in a call."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        state = Path(f"/proc/self/task/{task}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "S" or time.monotonic() > end_s:
            return state
        time.sleep(0.001)


@claim(
    "aio-by-kernel", 4, 3,
    sentence="内核会开启一个内核线程去读取数据，等到数据准备好了，内核给用户线程一个信号",
    english="The kernel starts a kernel thread that reads the data, and then sends a signal",
    reading="Threads that one aio_read adds to our own process: on Linux the C library starts"
    " them, and they do plain blocking reads. The kernel's own asynchronous interface is io_uring.",
)  # fmt: skip
def aio_by_kernel(scale: Scale) -> Finding:
    with reading_nothing() as (_, added):
        number = f"aio_read started {len(added)} thread in our own process"
    return Finding(verdicts.counted(not added), number, {"threads": len(added)})


@claim(
    "aio-process-never-blocked", 3,
    sentence="在这整个过程中，进程完全没有被block",
    english="In all this the process is not blocked at all",
    reading="The thread that asked is not; but one of its process sleeps in a read() meanwhile,"
    " for each operation that waits, up to 16 or 20 of them: the others queue.",
)  # fmt: skip
def aio_process_never_blocked(scale: Scale) -> Finding:
    with reading_nothing() as (operation, added):
        is_free = operation.error() == errno.EINPROGRESS
        asleep = [task for task in added if wait_asleep(task) == "S"]
        calls = {call_of(task) for task in asleep}
    where = ", ".join(sorted(filter(None, calls))) or "a call that /proc does not show"
    number = f"the caller goes on; {len(asleep)} other thread of ours sleeps in {where}"
    verdict = DEPENDS if is_free and asleep else verdicts.counted(is_free)
    return Finding(verdict, number, {"asleep": len(asleep)})


def call_of(task: str) -> str:
    """The name of the reading call that a thread is in; an empty string if it is not known."""
    try:
        number = int(Path(f"/proc/self/task/{task}/syscall").read_text().split()[0])
    except (OSError, ValueError):
        return ""
    return READING_CALLS.get(platform.machine(), {}).get(number, f"call {number}")


@claim(
    "aio-signal-by-kernel", 3,
    sentence="当这一切都完成之后，kernel会给用户进程发送一个signal，告诉它read操作完成了",
    english="When all is done the kernel sends the process a signal: the read is complete",
    reading="A signal does come. Its sender is our own process, and its code is negative, which"
    " marks signals that programs send: the C library's thread has sent it.",
)  # fmt: skip
def aio_signal_by_kernel(scale: Scale) -> Finding:
    number = signal.SIGRTMIN + 3
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    try:
        with pair() as (ours, theirs):
            theirs.send(b"x")
            with Asynchronous(ours.fileno(), 1, number=number) as operation:
                told = signal.sigtimedwait([number], PATIENCE_S)
                operation.wait()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if told is None:
        raise NotDecidableError("no signal came")
    sender = "our own process" if told.si_pid == os.getpid() else f"process {told.si_pid}"
    code = "SI_ASYNCIO" if told.si_code == SI_ASYNCIO else str(told.si_code)
    is_kernel = told.si_code > 0 or told.si_pid == 0
    return Finding(
        verdicts.counted(is_kernel), f"sent by {sender}, code {code}", {"code": told.si_code}
    )


@claim(
    "aio-handed-to-kernel", 3,
    sentence="用户进程将整个IO操作交给了他人（kernel）完成，然后他人做完后发信号通知",
    english="The process hands the whole I/O operation to somebody else, the kernel, and is told",
    reading="100 reads wait at once, and data comes for the last one alone. The kernel would"
    " complete it; the C library's threads all sleep in other reads, and it waits behind them.",
)  # fmt: skip
def aio_handed_to_kernel(scale: Scale) -> Finding:
    wanted = 100
    with pairs(wanted) as found:
        operations: list[Asynchronous] = []
        try:
            operations += (Asynchronous(ours.fileno(), 1) for ours, _ in found)
            time.sleep(scale.wait_s)
            threads = len(other_threads())
            # Data for the last one alone: with a thread for each it would complete.
            found[-1][1].send(b"x")
            time.sleep(scale.wait_s)
            is_served = operations[-1].error() == 0
        finally:
            for _, theirs in found:
                theirs.send(b"x")
            for operation in operations:
                operation.wait()
    served = "is served" if is_served else "waits behind the others"
    number = f"{threads} threads for {wanted} waiting reads; data for the last: it {served}"
    return Finding(verdicts.counted(is_served), number, {"threads": threads})
