import asyncio
import socket
from typing import Any

from headrace.loop.sockets import SocketMethods

class DatagramMethods(SocketMethods):
    """sock_recvfrom(), sock_recvfrom_into(), sock_sendto(), and datagram endpoints."""

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]: ...
    async def sock_recvfrom_into(
        self, sock: socket.socket, buf: Any, nbytes: int = 0
    ) -> tuple[int, Any]: ...
    async def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> int: ...
    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: Any = None,
        extra: dict[str, Any] | None = None,
    ) -> Any: ...
