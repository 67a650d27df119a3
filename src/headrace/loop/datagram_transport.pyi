import asyncio
import socket
from typing import Any

from headrace.core.datagram_operation import (
    DatagramBatch,
    ReceiveDatagramsOperation,
    SendToOperation,
)
from headrace.loop.flow_control import FlowControl

class DatagramFace:
    """What isinstance() sees."""

class DatagramReceive(ReceiveDatagramsOperation): ...
class DatagramSend(SendToOperation): ...

class DatagramTransport(FlowControl):
    """A datagram socket and its protocol; isinstance() says asyncio.DatagramTransport."""

    max_size: int
    def close(self) -> None: ...
    def get_write_buffer_limits(self) -> tuple[int, int]: ...
    def get_write_buffer_size(self) -> int: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def is_reading(self) -> bool: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None: ...

def datagram_transport(
    loop: Any,
    sock: socket.socket,
    batch: DatagramBatch,
    protocol: asyncio.BaseProtocol,
    address: Any,
    waiter: Any,
    extra: dict[str, Any] | None,
) -> Any:
    """A transport for *sock*, which is non-blocking and is now the transport's."""
