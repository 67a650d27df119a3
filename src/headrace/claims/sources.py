"""What experiments watch and talk to: sockets in pairs, descriptors by the thousand, children."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

SPARE = 200


class NotDecidableError(Exception):
    """This machine does not allow the measurement; the message says why."""


def descriptors_granted(wanted: int) -> int:
    """Raises the limit of open files as far as it goes, and answers how many may be used."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY:
            needed = min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
        return max(soft, needed) - SPARE
    return wanted


@contextmanager
def pair(*, blocking: bool = True) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected stream sockets."""
    first, second = socket.socketpair()
    first.setblocking(blocking)
    second.setblocking(blocking)
    with first, second:
        yield first, second


@contextmanager
def pairs(count: int) -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """So many pairs.

    Raises:
        NotDecidableError: the limit of open files is too low for them.
    """
    if descriptors_granted(2 * count) < 2 * count:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        raise NotDecidableError(f"{2 * count:,} sockets need more than ulimit -Hn {hard:,}")
    with ExitStack() as stack:
        yield [stack.enter_context(pair()) for _ in range(count)]


@contextmanager
def idle_descriptors(count: int) -> Iterator[list[int]]:
    """Sockets on which nothing ever comes."""
    with pairs((count + 1) // 2) as found:
        yield [one.fileno() for both in found for one in both][:count]


@contextmanager
def ready_descriptor() -> Iterator[int]:
    """A socket on which something can be read."""
    with pair() as (ours, theirs):
        theirs.send(b"x")
        yield ours.fileno()


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[int]:
    """A child that does the work and ends; it is killed at the end of the block.

    Only for a process of one thread: another may hold a lock that the child would wait for.
    """
    sys.stdout.flush()
    with warnings.catch_warnings():
        # The C library's thread for AIO idles for a second; it holds nothing that a child needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def expect(found: object, expected: object) -> None:
    """An experiment whose set-up does not work measures something else: then it fails."""
    if found != expected:
        raise RuntimeError(f"the experiment's own set-up gave {found!r} instead of {expected!r}")


def receive_exactly(source: socket.socket, size: int) -> bytes:
    """So many bytes, from a socket that blocks."""
    found = b""
    while len(found) < size:
        piece = source.recv(size - len(found))
        if not piece:
            raise ConnectionError(f"the peer closed after {len(found)} of {size} bytes")
        found += piece
    return found
