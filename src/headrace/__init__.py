"""Every Unix I/O model behind one asyncio event loop, io_uring first."""

from __future__ import annotations

# Before asyncio: a sub-interpreter of Python 3.12 that has imported that crashes at its end.
from headrace.kernel import interpreter as _  # noqa: F401 (importing it is the check)

# isort: split

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from headrace import os as os
from headrace.files import open
from headrace.loop.event_loop import EventLoop
from headrace.models.registry import (
    ModelInfo,
    ModelUnavailableError,
    UnknownModelError,
    models,
)
from headrace.streams.connecting import (
    open_connection,
    open_unix_connection,
    start_server,
    start_unix_server,
)
from headrace.streams.stream import StreamReader, StreamReaderProtocol, StreamWriter

__version__ = "0.1.0"
__all__ = [
    "EventLoop",
    "ModelInfo",
    "ModelUnavailableError",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "UnknownModelError",
    "models",
    "new_event_loop",
    "open",
    "os",
    "open_connection",
    "open_unix_connection",
    "run",
    "start_server",
    "start_unix_server",
]

_T = TypeVar("_T")


def new_event_loop(model: str | None = None, *, spin_us: float | None = None) -> EventLoop:
    """A new event loop on *model*; for asyncio.Runner(loop_factory=...) and uvicorn --loop.

    Without *model*: $HEADRACE_MODEL, else ``uring`` where the kernel grants one more ring, else
    ``epoll``; ``loop.model`` says which.  With *spin_us* a wait asks for so many microseconds
    without sleeping, before it sleeps: latency for a core.  Without it: $HEADRACE_SPIN_US, else 0.

    Raises:
        ValueError: *spin_us* is no number, negative, or more than a second.
        UnknownModelError: no model has that name.
        ModelUnavailableError: it cannot be had here, or not now; the message says why.
    """
    return EventLoop(model, spin_us=spin_us)


def run(
    main: Coroutine[Any, Any, _T],
    *,
    model: str | None = None,
    debug: bool | None = None,
    spin_us: float | None = None,
) -> _T:
    """asyncio.run() on a headrace loop: run *main*, answer its result, close the loop.

    *model* and *spin_us* are those of new_event_loop().

    Raises:
        ValueError: *spin_us* is no number, negative, or more than a second.
        RuntimeError: a loop is running in this thread; *main* can be awaited there.
        UnknownModelError: no model has that name; *main* has been closed.
        ModelUnavailableError: it cannot be had here; *main* has been closed.
    """
    # As asyncio.run() does, before anything is made; asyncio.Runner would say it of itself.
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("headrace.run() cannot be called from a running event loop")

    def loop_for_main() -> EventLoop:
        try:
            return new_event_loop(model, spin_us=spin_us)
        except BaseException:
            # Nobody else will await it, and "never awaited" would hide what went wrong.
            if asyncio.iscoroutine(main):
                main.close()
            raise

    with asyncio.Runner(debug=debug, loop_factory=loop_for_main) as runner:
        return runner.run(main)


def __dir__() -> list[str]:
    """What is public: without the modules that were imported to make it."""
    return [*__all__, "__version__"]
