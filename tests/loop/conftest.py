"""What the tests of the loop share: every model, a loop that must end clean, a bystander.

`loop` is a headrace loop on each available model, and stock asyncio's as the oracle: a test
that asks for it states what asyncio promises.  `headrace_loop` is for what asyncio does not have.
Every loop must end with nothing in flight, no descriptor left and no complaint unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

# The tests here import their own modules, however pytest is called.
sys.path.insert(0, str(Path(__file__).parent))

from echoing import serving

import headrace
from headrace.loop.openssl import unavailable_reason

T = TypeVar("T")
Complaints = list[dict[str, Any]]

# No test waits longer than this for anything.
WAIT_S_MAX = 20.0
QUIET_WAIT_S_MAX = 5.0
PROGRAMS = Path(__file__).parent / "programs"
DENY_IO_URING = Path(__file__).parents[1] / "deny_io_uring.py"


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop() if name == "asyncio" else headrace.new_event_loop(name)


@pytest.fixture
def make_loop(loop_name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """Make a loop whose end is the test's own affair."""
    return lambda: new_loop(loop_name)


def open_descriptors() -> dict[int, str]:
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(entry)] = os.readlink(f"/proc/self/fd/{entry}")
    return {fd: target for fd, target in found.items() if not target.startswith("/proc/")}


@pytest.fixture
def complaints() -> Complaints:
    """What reached the loop's exception handler.  A test that expects some clears it."""
    return []


@contextlib.contextmanager
def loop_that_ends_clean(name: str, complaints: Complaints) -> Iterator[asyncio.AbstractEventLoop]:
    gc.collect()
    before = open_descriptors()
    loop = new_loop(name)
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        yield loop
        if not loop.is_closed():
            loop.run_until_complete(wait_quiet(loop))
    finally:
        loop.close()
    gc.collect()
    assert open_descriptors() == before
    assert complaints == []


async def wait_quiet(loop: asyncio.AbstractEventLoop) -> None:
    """Wait until nothing is in flight and no other task is left."""
    in_flight = getattr(loop, "_operations_in_flight", list)
    await loop.shutdown_default_executor()
    end = loop.time() + QUIET_WAIT_S_MAX
    while in_flight() or len(asyncio.all_tasks()) > 1:
        assert loop.time() < end, f"still there: {in_flight()} {asyncio.all_tasks()}"
        await asyncio.sleep(0.001)
    # connection_lost() and what it schedules.
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def loop(loop_name: str, complaints: Complaints) -> Iterator[asyncio.AbstractEventLoop]:
    with loop_that_ends_clean(loop_name, complaints) as loop:
        yield loop


@pytest.fixture
def headrace_loop(model: str, complaints: Complaints) -> Iterator[headrace.EventLoop]:
    with loop_that_ends_clean(model, complaints) as loop:
        assert isinstance(loop, headrace.EventLoop)
        yield loop


def runner(loop: asyncio.AbstractEventLoop) -> Callable[[Awaitable[T]], T]:
    def run_bounded(awaitable: Awaitable[T]) -> T:
        result: T = loop.run_until_complete(asyncio.wait_for(awaitable, WAIT_S_MAX))
        return result

    return run_bounded


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Callable[[Awaitable[T]], T]:
    """Run to the end on `loop`, bounded."""
    return runner(loop)


@pytest.fixture
def headrace_run(headrace_loop: headrace.EventLoop) -> Callable[[Awaitable[T]], T]:
    """Run to the end on `headrace_loop`, bounded."""
    return runner(headrace_loop)


@pytest.fixture
def reset() -> Callable[[socket.socket], None]:
    """Close a socket so that its peer gets a RST instead of a FIN."""

    def close_with_reset(sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    return close_with_reset


@pytest.fixture(scope="session")
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(params=["openssl", "ssl"])
def tls_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the loop's TLS works: by calls of OpenSSL, or by those of Python's ssl alone."""
    engine: str = request.param
    if engine == "ssl":
        if request.node.callspec.params.get("loop_name") == "asyncio":
            pytest.skip("stock asyncio has one way")
        monkeypatch.setenv("HEADRACE_TLS", "ssl")
    elif unavailable_reason():
        pytest.skip(unavailable_reason())
    return engine


@contextlib.asynccontextmanager
async def undisturbed() -> AsyncIterator[None]:
    """A connection that goes on echoing, whatever happens to others inside the block."""
    async with serving("127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            await echo_once(reader, writer, b"before")
            yield
            await echo_once(reader, writer, b"after")
        finally:
            writer.close()
            await writer.wait_closed()


async def echo_once(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes
) -> None:
    writer.write(message)
    assert await reader.readexactly(len(message)) == message


@pytest.fixture
def bystander() -> Callable[[], contextlib.AbstractAsyncContextManager[None]]:
    return undisturbed


@pytest.fixture
def run_program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run tests/loop/programs/NAME in an interpreter of its own, bounded."""

    def run_to_end(
        name: str, *arguments: str, without_io_uring: bool = False, **environment: str
    ) -> Any:
        under = [sys.executable, str(DENY_IO_URING)] if without_io_uring else []
        return subprocess.run(
            [*under, sys.executable, "-W", "error", str(PROGRAMS / name), *arguments],
            capture_output=True,
            text=True,
            timeout=WAIT_S_MAX,
            env={**os.environ, **environment},
        )

    return run_to_end
