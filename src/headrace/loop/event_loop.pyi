# A user's view.  The class itself leans on private parts of asyncio's, which have no types.
import asyncio
import logging
import os
import socket
from collections.abc import Callable
from ssl import SSLContext
from typing import TypeVar

from headrace.core.statistics import StatisticsDict
from headrace.models.contract import Model

logger: logging.Logger
_ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)

SPIN_US_MAX: int
SPIN_VARIABLE: str

def spin_seconds(spin_us: float | None) -> float:
    """How long a wait asks before it sleeps; None is what $HEADRACE_SPIN_US says, else 0."""

def somaxconn() -> int:
    """The longest listen backlog that the system grants."""

def checked_spin(name: str, given: object) -> float: ...

class EventLoop(asyncio.BaseEventLoop):
    """An asyncio event loop on one I/O model: its name, or a Model that was not opened yet.

    *spin_us*: for so many microseconds a wait asks without sleeping, before it sleeps.  That is for
    latency, where a core is to spare: to be woken takes 10 to 30 us, asking again less than one.
    Without it: $HEADRACE_SPIN_US, else 0.

    Raises:
        ValueError: *spin_us* is no number, negative, or more than a second.
    """

    def __init__(
        self, model: str | Model | None = None, *, spin_us: float | None = None
    ) -> None: ...
    @property
    def model(self) -> str:
        """The name of the I/O model that the loop runs on."""

    def statistics(self) -> StatisticsDict:
        """What the loop and its model have done since the loop was made: counts, none of a time.

        Counting goes on always; asking costs about a microsecond.  The docstring of the method itself
        says what each count means.
        """

    async def create_unix_connection(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        path: str | bytes | os.PathLike[str] | None = None,
        *,
        ssl: bool | SSLContext | None = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, _ProtocolT]: ...
    async def create_unix_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        path: str | bytes | os.PathLike[str] | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int | None = None,
        ssl: SSLContext | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = True,
    ) -> asyncio.Server:
        """As asyncio's, but *backlog* is the system's longest (somaxconn) where none is given."""
    # create_server() is asyncio's in its types, version by version; its backlog too is somaxconn.
