import asyncio
from typing import Any

class ReaderCore:
    """What has come and was not read yet, and who waits for it."""

    def __init__(self, limit: int = ..., loop: asyncio.AbstractEventLoop | None = None) -> None: ...
    _limit: int
    _buffer: bytearray
    _loop: Any
    _transport: Any
    _waiter: Any
    _exception: Any
    _eof: bool
    _paused: bool
    _source_traceback: Any
    def at_eof(self) -> bool: ...
