"""What the tests of files share: every model and stock asyncio, and a loop that must end clean."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

import headrace
from headrace.models.simulated import Faults, SimulatedModel

T = TypeVar("T")

# No test waits longer than this for anything.
WAIT_S_MAX = 30.0
QUIET_WAIT_S_MAX = 5.0


def open_descriptors() -> dict[int, str]:
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(entry)] = os.readlink(f"/proc/self/fd/{entry}")
    return {fd: target for fd, target in found.items() if not target.startswith("/proc/")}


async def wait_quiet(loop: Any) -> None:
    """Wait until nothing is in flight and no other task is left."""
    in_flight = getattr(loop, "_operations_in_flight", list)
    await loop.shutdown_default_executor()
    end = loop.time() + QUIET_WAIT_S_MAX
    while in_flight() or len(asyncio.all_tasks()) > 1:
        assert loop.time() < end, f"still there: {in_flight()} {asyncio.all_tasks()}"
        await asyncio.sleep(0.001)
    for _ in range(5):
        await asyncio.sleep(0)


@contextlib.contextmanager
def loop_that_ends_clean(loop: asyncio.AbstractEventLoop, before: Any) -> Iterator[Any]:
    complaints: list[dict[str, Any]] = []
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


@pytest.fixture
def loop(loop_name: str) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop on each model, and stock asyncio's."""
    gc.collect()
    before = open_descriptors()
    made = (
        asyncio.new_event_loop() if loop_name == "asyncio" else headrace.new_event_loop(loop_name)
    )
    with loop_that_ends_clean(made, before) as loop:
        yield loop


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Callable[[Awaitable[T]], T]:
    """Run to the end on `loop`, bounded."""

    def run_bounded(awaitable: Awaitable[T]) -> T:
        return loop.run_until_complete(asyncio.wait_for(awaitable, WAIT_S_MAX))

    return run_bounded


@pytest.fixture
def run_simulated() -> Callable[[Faults, Callable[[], Awaitable[None]]], None]:
    """Run to the end on a simulated model with these faults; its loop must end clean as well."""

    def run_with(faults: Faults, main: Callable[[], Awaitable[None]]) -> None:
        gc.collect()
        before = open_descriptors()
        with loop_that_ends_clean(headrace.EventLoop(SimulatedModel(faults)), before) as loop:
            loop.run_until_complete(main())

    return run_with


class Turns:
    """Counts the loop's turns, in a task of its own."""

    def __init__(self) -> None:
        self.count = 0

    @contextlib.asynccontextmanager
    async def counted(self) -> AsyncIterator[Turns]:
        task = asyncio.ensure_future(self._run())
        await asyncio.sleep(0)
        self.count = 0
        try:
            yield self
        finally:
            task.cancel()

    async def _run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


@pytest.fixture
def turns() -> Turns:
    """async with turns.counted(): turns.count is how often others could run."""
    return Turns()


@contextlib.asynccontextmanager
async def opened_slowly(*arguments: Any, **keywords: Any) -> AsyncIterator[Any]:
    """headrace.open(), of a file of which nothing is read or written at once."""
    async with headrace.open(*arguments, **keywords) as file:
        descriptor = getattr(file, "buffer", file).descriptor
        descriptor.nowait_read = False
        descriptor.nowait_write = False
        yield file


@pytest.fixture(params=["at once", "waiting"])
def opened(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """headrace.open(), where the page cache answers, and where the ring or a thread does."""
    return headrace.open if request.param == "at once" else opened_slowly


@pytest.fixture
def slowly() -> Callable[..., Any]:
    return opened_slowly
