import socket
from collections.abc import Callable
from typing import Any

from headrace.core.buffer_pool import BufferPool
from headrace.core.operation import Operation
from headrace.kernel.address import RecentAddress

class DatagramBatch:
    """What one recvmmsg(2) receives into; one for all the sockets of a loop."""

class ReceiveDatagramsOperation(Operation):
    """Multishot receive; `on_complete(operation, count, [(data, address), ...])`.

    A negative errno instead of the count is the end; it may then be started again.
    """

    def __init__(
        self,
        sock: socket.socket,
        batch: DatagramBatch,
        on_complete: Callable[..., object] | None = None,
    ) -> None: ...

class ReceiveFromOperation(Operation):
    """One datagram of at most *length* bytes into *target*; result is the count of bytes."""

    def __init__(
        self,
        fd: int,
        target: Any,
        length: int | None = None,
        on_complete: Callable[..., object] | None = None,
    ) -> None: ...
    @property
    def sender(self) -> Any:
        """Afterwards: where it came from, in the socket module's form."""

class ReceiveBytesFromOperation(ReceiveFromOperation):
    """One datagram of at most *length* bytes, left in `data`."""

    def __init__(
        self,
        fd: int,
        scratch: BufferPool,
        length: int,
        on_complete: Callable[..., object] | None = None,
    ) -> None: ...
    @property
    def data(self) -> bytes: ...

class SendToOperation(Operation):
    """One datagram to *address*, or to the peer of a connected socket."""

    def __init__(
        self,
        sock: socket.socket,
        data: bytes | None = None,
        address: Any = None,
        on_complete: Callable[..., object] | None = None,
        *,
        recent: RecentAddress | None = None,
    ) -> None: ...
    @property
    def data(self) -> bytes | None: ...
    @property
    def failure(self) -> BaseException | None: ...
