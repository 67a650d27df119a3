import socket
from collections.abc import Callable
from typing import Any

from headrace.core.operation import AcceptOperation

class Listener(AcceptOperation):
    """Accepts for one listening socket until stopped."""

    def __init__(
        self,
        loop: Any,
        sock: socket.socket,
        protocol_factory: Callable[[], Any],
        server: Any,
        tls: Callable[[Any], Any] | None,
    ) -> None: ...
    @property
    def stopped(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None:
        """Stop and close the listening socket; connections made so far live on."""
