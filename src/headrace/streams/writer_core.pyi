from typing import Any

from headrace.loop.awaitable import Awaitable

class WriterCore:
    """write() and drain(), which run for each answer."""

    def __init__(self, transport: Any, protocol: Any, reader: Any, loop: Any) -> None: ...
    _transport: Any
    _protocol: Any
    _reader: Any
    _loop: Any
    @property
    def _complete_fut(self) -> Any: ...
    def write(self, data: Any) -> None: ...
    def is_closing(self) -> bool: ...
    def drain(self) -> Draining: ...

class Draining(Awaitable):
    """What drain() is."""
