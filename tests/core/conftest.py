"""What the tests of the core share: a loop, on whichever model is the default."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import headrace


@pytest.fixture
def loop() -> Iterator[headrace.EventLoop]:
    loop = headrace.new_event_loop()
    yield loop
    loop.close()


class Clock:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(loop: headrace.EventLoop) -> Clock:
    clock = Clock()
    loop.time = clock  # type: ignore[method-assign]
    return clock
