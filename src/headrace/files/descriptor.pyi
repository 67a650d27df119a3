import asyncio
from typing import Any

CLOSED: str
ATTEMPT_BYTES_MAX: int
FILE_BYTES_MAX: int

class Exported:
    """The memory of somebody's object, locked in its place for as long as this lives."""

class Transfer:
    """Memory to read into or to write from, and how much of it is done."""

    @property
    def length(self) -> int: ...
    @property
    def done(self) -> int: ...

class Turns:
    """One task at a time, in the order in which they came; free if nobody else is there."""

    @property
    def taken(self) -> bool: ...
    async def take(self) -> None: ...
    def leave(self) -> int: ...

class Descriptor:
    """What bytes are moved through; *closes* says whether it is ours to close."""

    nowait_read: bool
    nowait_write: bool

    def __new__(cls, fd: int, name: Any, closes: bool = True) -> Descriptor: ...
    @property
    def fd(self) -> int: ...
    @property
    def name(self) -> Any: ...
    @property
    def closes(self) -> bool: ...
    @property
    def seekable(self) -> bool: ...
    @property
    def is_written(self) -> bool: ...
    @property
    def closing(self) -> bool: ...
    async def read_into(self, transfer: Transfer, offset: int, whole: bool) -> None:
        """Read at *offset* (-1: where the descriptor stands) until the end, or all if *whole*."""

    async def write_from(self, transfer: Transfer, offset: int, whole: bool) -> None:
        """Write at *offset* (-1: where the descriptor stands), all if *whole*."""

    async def read_bytes(self, size: int, offset: int, whole: bool) -> bytes:
        """read_into() an object of its own."""

    async def write_bytes(self, data: Any, offset: int, whole: bool) -> int:
        """write_from() the memory of *data*; how many bytes."""

    async def wait_and_move(self, transfer: Transfer, offset: int, writing: bool) -> int:
        """What has to wait, somewhere else: its result, -EAGAIN if it is to be tried again."""

    async def wait_ready(self, writing: bool) -> None:
        """Wait for the peer."""

    async def close(self) -> None:
        """Wait for what is in flight, then close; who waits for a peer gets a ValueError."""

    async def close_idle(self) -> None: ...

def tell(waiter: asyncio.Future[None]) -> None: ...
