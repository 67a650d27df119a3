from headrace.core.operation import PollOperation
from headrace.loop.awaitable import Awaitable
from headrace.loop.watchers import Watchers

class SocketLoop(Watchers):
    """What the loop keeps for sockets that stay the caller's."""

class SocketPoll(PollOperation):
    """Completes the future of a call that waits."""

class SocketCall(Awaitable):
    """One operation on a socket, awaited."""

class SocketReceive(SocketCall):
    """sock_recv()."""

class SocketReceiveInto(SocketCall):
    """sock_recv_into()."""

class SocketSendAll(SocketCall):
    """sock_sendall()."""
