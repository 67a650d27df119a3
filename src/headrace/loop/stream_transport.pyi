import asyncio
import socket
from typing import Any

from headrace.loop.stream_writing import WritingSide

class StreamTransport(WritingSide):
    """A connected TCP or Unix socket and its protocol; isinstance() says asyncio.Transport."""

def stream_transport(
    loop: Any,
    sock: socket.socket,
    protocol: asyncio.BaseProtocol,
    waiter: Any,
    extra: dict[str, Any] | None,
    server: Any,
) -> Any:
    """A transport for *sock*, which is connected and non-blocking and is now the transport's."""
