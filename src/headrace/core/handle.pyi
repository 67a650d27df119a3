from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any

from headrace.core.timer_heap import Timer

class Handle(Timer):
    """A callback that the loop will run, once; isinstance() says asyncio.Handle."""

    def __init__(
        self,
        callback: Callable[..., object],
        args: Iterable[Any],
        loop: Any,
        context: Context | None = None,
    ) -> None: ...
    def get_context(self) -> Context: ...
    def cancel(self) -> None: ...
    def cancelled(self) -> bool: ...

class TimerHandle(Handle):
    """A callback with a time; isinstance() says asyncio.TimerHandle."""

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Iterable[Any],
        loop: Any,
        context: Context | None = None,
    ) -> None: ...
    def when(self) -> float: ...
