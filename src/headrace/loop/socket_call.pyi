from collections.abc import Generator
from typing import Any

from headrace.core.operation import PollOperation
from headrace.loop.watchers import Watchers

class SocketLoop(Watchers):
    """What the loop keeps for sockets that stay the caller's."""

class SocketPoll(PollOperation):
    """Completes the future of a call that waits."""

class SocketCall:
    """A coroutine, to all who ask, that is one operation on a socket."""

    @property
    def __name__(self) -> str: ...
    @property
    def __qualname__(self) -> str: ...
    @property
    def cr_running(self) -> bool: ...
    @property
    def cr_await(self) -> Any: ...
    def __await__(self) -> Generator[Any, None, Any]: ...
    def __iter__(self) -> SocketCall: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any: ...
    def close(self) -> None: ...

class SocketReceive(SocketCall):
    """sock_recv()."""

class SocketReceiveInto(SocketCall):
    """sock_recv_into()."""

class SocketSendAll(SocketCall):
    """sock_sendall()."""
