"""The load generator: a closed loop over many connections that never sleeps while it measures."""

from typing import final

from headrace.lab.connections import ERROR_KINDS as ERROR_KINDS
from headrace.lab.connections import Connections
from headrace.lab.window import Window

class LoadError(Exception):
    """The load could not be set up: nobody listens, or the connections were not accepted."""

@final
class Load(Connections):
    """Keeps ``busy`` connections to a loopback address at one request each, and ``idle`` silent.

    The address is a host and a port, or the path of a Unix socket. A request is ``size`` random
    bytes, the reply must be their upper case, byte for byte; with ``echo`` the same bytes. With
    ``lines`` each request is one line: it ends with its only newline. With ``datagrams`` the
    sockets are UDP, and a request that is lost counts as ``no_reply`` when the run ends. With
    ``http_request`` the request is these bytes, and the reply any whole HTTP reply with a status
    of 2xx. A connection that fails is counted under one of ``ERROR_KINDS`` and replaced; after
    three failures in a row it rests until the next ``run``.

    With ``spin=False`` the generator sleeps in epoll_wait: for a machine with a single core.

    Raises:
        TooManyConnectionsError: the hard limit of RLIMIT_NOFILE is too low.
        ValueError: not a loopback address, or not a sensible number.
    """

    def __new__(
        cls,
        address: tuple[str, int] | str,
        *,
        busy: int,
        idle: int = 0,
        size: int = 1024,
        http_request: bytes | None = None,
        echo: bool = False,
        lines: bool = False,
        datagrams: bool = False,
        reply_timeout_s: float = 5.0,
        connect_timeout_s: float = 60.0,
        spin: bool = True,
    ) -> Load: ...
    def connect(self) -> None:
        """Opens all connections, the idle ones first.

        Raises:
            LoadError: a connect was refused, or not all were accepted in time.
        """
    def run(self, seconds: float) -> Window:
        """Loads for so long, then waits for the replies that are still due, and tells the result.

        Errors are told by the next result after them: those of ``connect`` by the first one.

        Signal handlers run at least every 50 ms; an exception of theirs ends the run.
        """
    def close(self) -> None:
        """Closes everything; may be called twice."""
    def target_name(self) -> str:
        """The address under load, as ``host:port`` or a path."""
    @property
    def connected(self) -> int:
        """How many connections are established now."""
