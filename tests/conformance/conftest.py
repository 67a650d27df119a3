"""Fixtures of the conformance suite: a loop, bare operations on it, and what must not be left.

A test that asks for `loop` is an asyncio program; it runs on stock asyncio too, which is the
oracle: a test that fails there is wrong itself.  A test that asks for `driver` speaks the
contract of models, with bare operations.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import tty
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

import pytest

# The tests here import their own modules, however pytest is called.
sys.path.insert(0, str(Path(__file__).parent))

from driver import Driver
from subjects import REAL, STOCK, Subject, simulated

T = TypeVar("T")

TIMEOUT_S = 20
# A late cancellation of the simulated model takes some turns to end.
TURNS_TO_SETTLE = 100
# And one that missed a request in a worker thread of the kernel's, some time.
PAUSES_TO_SETTLE = 1000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/conformance/" in str(item.path):
            item.add_marker(
                pytest.mark.timeout(int(os.environ.get("HEADRACE_TEST_TIMEOUT_S", TIMEOUT_S)))
            )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" not in metafunc.fixturenames:
        return
    subjects = [*REAL, *simulated(metafunc.function.__name__)]
    if "driver" not in metafunc.fixturenames:
        subjects.insert(0, STOCK)
    metafunc.parametrize("subject", subjects, ids=str)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After each test: no descriptor more than before, and no warning."""
    before = descriptors()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Of each fork beside threads, from Python 3.12 on: two models are made of threads.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        yield
        gc.collect()
    left = descriptors() - before
    assert not left, f"descriptors left open: {sorted(left)}"
    assert not caught, f"warnings: {[str(warning.message) for warning in caught]}"


def descriptors() -> set[str]:
    """The open descriptors, each with what it refers to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue  # the one of this listing
    return found


@pytest.fixture
def errors() -> list[dict[str, Any]]:
    """What the loop's exception handler was told; a test that expects something clears it."""
    return []


@pytest.fixture
def loop(subject: Subject, errors: list[dict[str, Any]]) -> Iterator[asyncio.AbstractEventLoop]:
    loop = subject.make_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    asyncio.set_event_loop(loop)
    try:
        yield loop
        finish(loop)
        assert not errors, f"the loop's exception handler was told: {errors}"
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def finish(loop: asyncio.AbstractEventLoop) -> None:
    """Let the loop come to rest; nothing may be left in it."""
    if loop.is_closed():
        return
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    for count in range(TURNS_TO_SETTLE + PAUSES_TO_SETTLE):
        loop.run_until_complete(asyncio.sleep(0 if count < TURNS_TO_SETTLE else 0.001))
        if not is_busy(loop):
            break
    assert not asyncio.all_tasks(loop)
    if not hasattr(loop, "_model"):
        return
    assert not loop._operations_in_flight()
    assert not loop._callbacks_pending()
    assert all_buffers_are_idle(loop)


def is_busy(loop: Any) -> bool:
    if not hasattr(loop, "_model"):
        return bool(loop._ready)
    return bool(
        loop._operations_in_flight()
        or loop._callbacks_pending()
        or not all_buffers_are_idle(loop)  # the waker's, told late
    )


def all_buffers_are_idle(loop: Any) -> bool:
    pools = (loop._model.pool, getattr(loop._model, "records", None))
    return all(pool is None or pool.idle_count == pool.count for pool in pools)


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Callable[[Coroutine[Any, Any, T]], T]:
    return loop.run_until_complete


@pytest.fixture
def driver(loop: asyncio.AbstractEventLoop) -> Driver:
    return Driver(loop)


class Sockets:
    """Makes sockets that are closed after the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def keep(self, sock: socket.socket) -> socket.socket:
        sock.setblocking(False)
        self._stack.callback(sock.close)
        return sock

    def unix_pair(self) -> tuple[socket.socket, socket.socket]:
        left, right = socket.socketpair()
        return self.keep(left), self.keep(right)

    def udp(self) -> socket.socket:
        sock = self.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(("127.0.0.1", 0))
        return sock

    def unix_datagrams(self) -> socket.socket:
        """With an abstract name of the kernel's choice: unix(7), autobind."""
        sock = self.keep(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sock.bind("")
        return sock

    def listener(self) -> socket.socket:
        return self.keep(socket.create_server(("127.0.0.1", 0)))

    def tcp(self) -> socket.socket:
        return self.keep(socket.socket(socket.AF_INET, socket.SOCK_STREAM))

    def tcp_pair(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            left = socket.create_connection(listener.getsockname())
            right, _ = listener.accept()
        for end in (left, right):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.keep(left), self.keep(right)


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    with ExitStack() as stack:
        yield Sockets(stack)


class Pipes:
    """Makes pipes and terminals, unbuffered, that are closed after the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def keep(self, fd: int, mode: str) -> FileIO:
        os.set_blocking(fd, False)
        return self._stack.enter_context(FileIO(fd, mode))

    def pipe(self, flags: int = 0) -> tuple[FileIO, FileIO]:
        """The read end and the write end."""
        reader, writer = os.pipe2(os.O_CLOEXEC | flags)
        return self.keep(reader, "rb"), self.keep(writer, "wb")

    def terminal(self) -> tuple[FileIO, FileIO]:
        """The master's side and the terminal itself, raw."""
        master, terminal = os.openpty()
        tty.setraw(terminal)
        return self.keep(master, "r+b"), self.keep(terminal, "r+b")


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    with ExitStack() as stack:
        yield Pipes(stack)
