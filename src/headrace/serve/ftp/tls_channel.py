"""An encrypted data connection (PROT P): the handshake, and what the loop's transport says.

The server is the TLS server on every data connection, whoever has connected (RFC 4217 section 7).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any, Protocol

from headrace.serve.ftp.passive import NO_LINGER, reset
from headrace.serve.logs import reason_of

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["TlsChannel", "TlsTransfer"]


class TlsTransfer(Protocol):
    """What a transfer does with its channel."""

    session: Session

    def begin(self) -> None:
        """The handshake is done."""

    def take_data(self, data: bytes) -> None: ...
    def take_eof(self) -> None:
        """The client's close_notify, or its FIN without one."""

    def room(self) -> None:
        """What was written, and did not go at once, has gone."""

    def lost(self, error: BaseException | None) -> None:
        """The connection has gone; None: in good order."""

    def fail(self, code: int, text: str) -> None: ...


class TlsChannel(asyncio.Protocol):
    """Between a transfer and its transport."""

    __slots__ = ("_task", "transfer", "transport")

    def __init__(self, transfer: TlsTransfer, sock: socket.socket) -> None:
        self.transfer = transfer
        self.transport: Any = None
        self._task: asyncio.Task[None] | None = transfer.session.worker.spawn(self._open(sock))

    async def _open(self, sock: socket.socket) -> None:
        session = self.transfer.session
        worker = session.worker
        limits = worker.limits
        try:
            transport, _ = await worker.loop.connect_accepted_socket(
                lambda: self,
                sock,
                ssl=session.site.tls,
                ssl_handshake_timeout=limits.tls_handshake_timeout_s,
                ssl_shutdown_timeout=limits.stall_timeout_s,
            )
        except asyncio.CancelledError:
            reset(sock)
            raise
        except (OSError, ssl.SSLError) as error:
            sock.close()
            self._task = None
            worker.log.event("tls_failed", address=session.address, reason=reason_of(error))
            self.transfer.fail(425, "TLS could not be agreed upon.")
            return
        self._task = None
        self.transport = transport
        if session.site.settings.tls_session_reuse and not reused(transport):
            worker.log.event("tls_session_not_reused", address=session.address)
            self.transfer.fail(522, "The TLS session of the control connection must be used again.")
            return
        # room() comes whenever what was written has gone: the kernel's buffer is enough ahead.
        transport.set_write_buffer_limits(0, 0)
        self.transfer.begin()

    @property
    def waiting_bytes(self) -> int:
        """Written, and still in this process."""
        return 0 if self.transport is None else int(self.transport.get_write_buffer_size())

    def close(self) -> None:
        """In good order: close_notify, the client's, FIN."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """With a reset: without it the kernel would still send what lies in its buffer."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self.transport is None:
            return
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # closed already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.transport.abort()

    # What the transport says.

    def data_received(self, data: bytes) -> None:
        self.transfer.take_data(data)

    def eof_received(self) -> None:
        self.transfer.take_eof()

    def connection_lost(self, error: BaseException | None) -> None:
        self.transport = None
        self.transfer.lost(error)

    def pause_writing(self) -> None:
        pass  # the transfer asks how much waits

    def resume_writing(self) -> None:
        self.transfer.room()


def reused(transport: asyncio.BaseTransport) -> bool:
    """Only who has the control connection's session can use it again (RFC 4217 section 10.2).

    Else whoever connects from the client's address first would get, or send, the file.
    """
    tls = transport.get_extra_info("ssl_object")
    return bool(tls is not None and tls.session_reused)
