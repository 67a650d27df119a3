import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

from headrace.core.operation import Operation
from headrace.loop.socket_call import SocketLoop
from headrace.models.contract import Model

class OperationFuture(asyncio.Future[int]):
    """An operation's result; cancelling it cancels the operation, at once."""

    operation: Operation | None
    model: Model
    def __init__(self, operation: Operation, model: Model, loop: Any) -> None: ...
    def completed(self, operation: Operation, result: int, more: bool) -> None: ...
    def let_go(self) -> None:
        """Break the cycle with the operation."""

class SocketMethods(SocketLoop):
    """The sock_* methods."""

    def sock_recv(self, sock: socket.socket, n: int) -> Coroutine[Any, Any, bytes]: ...
    def sock_recv_into(self, sock: socket.socket, buf: Any) -> Coroutine[Any, Any, int]: ...
    def sock_sendall(self, sock: socket.socket, data: Any) -> Coroutine[Any, Any, None]: ...
    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]: ...
    async def sock_connect(self, sock: socket.socket, address: Any) -> None: ...
