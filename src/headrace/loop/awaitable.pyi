from collections.abc import Awaitable as AwaitableOf
from collections.abc import Generator
from types import TracebackType
from typing import Any

class Awaitable(AwaitableOf[Any]):
    """What the streams' methods return: a coroutine without a frame."""

    @property
    def __name__(self) -> str: ...
    @property
    def __qualname__(self) -> str: ...
    def __await__(self) -> Generator[Any, Any, Any]: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> Any: ...
    def close(self) -> None: ...

def given(
    kind: type[BaseException] | BaseException,
    value: BaseException | object = None,
    traceback: TracebackType | None = None,
) -> BaseException:
    """What a coroutine's throw() makes of its arguments."""
