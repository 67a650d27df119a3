"""A program for test_aio.py: a signal of one loop's request comes late, as another's is under way.

A process of its own, because a signal for a process may be taken by any thread that has not blocked
it: where tests before have left a pool's threads, none would stay pending.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator

import headrace
from headrace.core.operation import ReceiveOperation

TIMEOUT_S = 30


def receiver(fd: int, received: list[bytes]) -> ReceiveOperation:
    operation = ReceiveOperation(fd)
    operation.owned = True  # as a connection's is
    operation.on_complete = lambda _operation, _result, data: received.append(data)
    return operation


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        # Those that are pending run their handlers in this thread before this returns.
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_until_pending() -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not signal.sigpending():
        if time.monotonic() > deadline:
            sys.exit("no signal came")


def main(is_pushed: bool) -> None:
    """*is_pushed*: its handler runs before the first operation ends, else afterwards."""
    received: list[bytes] = []
    loop, other_loop = headrace.new_event_loop("aio"), headrace.new_event_loop("aio")
    model, other = loop._model, other_loop._model
    near, far = socket.socketpair()
    other_near, other_far = socket.socketpair()
    first = receiver(near.fileno(), received)
    second = receiver(other_near.fileno(), received)

    def end_one_and_begin_the_other() -> None:
        model.stop_operation(first)
        model.forget(near.fileno())
        other.start_operation(second)
        other.wait(0)  # it has looked at all requests just now

    with near, far, other_near, other_far:
        model.bind()
        model.start_operation(first)
        with signals_blocked():
            far.send(b"x")
            wait_until_pending()
            if not is_pushed:
                end_one_and_begin_the_other()
        if is_pushed:
            end_one_and_begin_the_other()
        other_far.send(b"y")
        # Once: in a second it would look at all requests again.
        other.wait(TIMEOUT_S)
        assert other_loop._callbacks_pending() == 1
        other_loop.run_until_complete(asyncio.sleep(0))
        assert received == [b"y"]
        model.wait(0)
        other.stop_operation(second)
        other.forget(other_near.fileno())
        model.unbind()
    other_loop.close()
    loop.close()
    print("ended")


if __name__ == "__main__":
    main(sys.argv[1] == "pushed")
