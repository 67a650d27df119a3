import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

from headrace.loop.socket_call import SocketCall
from headrace.loop.sockets import SocketMethods

class DatagramCall(SocketCall):
    """One operation on a socket of datagrams, awaited."""

class ReceiveFromCall(DatagramCall):
    """sock_recvfrom()."""

class ReceiveFromIntoCall(DatagramCall):
    """sock_recvfrom_into()."""

class SendToCall(DatagramCall):
    """sock_sendto()."""

class DatagramMethods(SocketMethods):
    """sock_recvfrom(), sock_recvfrom_into(), sock_sendto(), and datagram endpoints."""

    def sock_recvfrom(
        self, sock: socket.socket, bufsize: int
    ) -> Coroutine[Any, Any, tuple[bytes, Any]]: ...
    def sock_recvfrom_into(
        self, sock: socket.socket, buf: Any, nbytes: int = 0
    ) -> Coroutine[Any, Any, tuple[int, Any]]: ...
    def sock_sendto(
        self, sock: socket.socket, data: Any, address: Any
    ) -> Coroutine[Any, Any, int]: ...
    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: Any = None,
        extra: dict[str, Any] | None = None,
    ) -> Any: ...
