import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

_T = TypeVar("_T")

class Scheduling:
    """Callbacks, timers, tasks: how they come to be run by the loop."""

    def call_soon(
        self, callback: Callable[..., object], /, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run *callback* in the next turn, after what was scheduled before."""

    def call_soon_threadsafe(
        self, callback: Callable[..., object], /, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """call_soon() from another thread or a signal's handler: wakes a loop that waits."""

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        /,
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run *callback* once *delay* seconds have passed."""

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        /,
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run *callback* once the loop's clock has reached *when*; ValueError for NaN."""

    def create_future(self) -> asyncio.Future[Any]: ...
    def create_task(self, coro: Coroutine[Any, Any, _T], **keywords: Any) -> asyncio.Task[_T]: ...
    def get_debug(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def is_running(self) -> bool: ...
    def time(self) -> float:
        """The monotonic clock, in seconds."""

    def _add_callback_signalsafe(self, handle: Any) -> None: ...
    def _check_closed(self) -> None: ...
