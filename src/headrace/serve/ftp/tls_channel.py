"""An encrypted data connection (PROT P): the handshake, and what the loop's transport says.

The server is the TLS server on every data connection, whoever has connected (RFC 4217 section 7).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any, Protocol

from headrace.serve.ftp.lingering import unsent
from headrace.serve.ftp.passive import NO_LINGER, reset
from headrace.serve.logs import reason_of

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["TlsChannel", "TlsTransfer"]


class TlsTransfer(Protocol):
    """What a transfer does with its channel."""

    session: Session
    ended: bool

    def begin(self) -> None:
        """The handshake is done; the transport is still busy with its end."""

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

    def __init__(
        self, transfer: TlsTransfer, sock: socket.socket, shutdown_timeout_s: float | None = None
    ) -> None:
        """*shutdown_timeout_s*: from close() until the client has answered; None: a stall's."""
        self.transfer = transfer
        self.transport: Any = None
        self._task: asyncio.Task[None] | None = transfer.session.worker.spawn(
            self._open(sock, shutdown_timeout_s)
        )

    async def _open(self, sock: socket.socket, shutdown_timeout_s: float | None) -> None:
        session = self.transfer.session
        worker = session.worker
        limits = worker.limits
        try:
            await worker.loop.connect_accepted_socket(
                lambda: self,
                sock,
                ssl=context_of(session),
                ssl_handshake_timeout=limits.tls_handshake_timeout_s,
                ssl_shutdown_timeout=shutdown_timeout_s or limits.stall_timeout_s,
            )
        except asyncio.CancelledError:
            reset(sock)
            raise
        except (OSError, ssl.SSLError) as error:
            sock.close()
            self._task = None
            worker.log.event("tls_failed", address=session.address, reason=reason_of(error))
            self.transfer.fail(425, "TLS could not be agreed upon.")
        else:
            self._task = None

    @property
    def waiting_bytes(self) -> int:
        """Written, and still in this process."""
        return 0 if self.transport is None else int(self.transport.get_write_buffer_size())

    def unsent_bytes(self) -> int:
        """Written, and not acknowledged by the peer; the part that is encrypted is a bit longer.

        It lies as plaintext in the transport, as ciphertext in the one below, and in the kernel.

        Raises:
            OSError: the connection has gone, which connection_lost() is about to say.
        """
        transport = self.transport
        wire = None if transport is None else transport._ssl_protocol._transport
        if wire is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        held = int(transport.get_write_buffer_size() + wire.get_write_buffer_size())
        return held + unsent(transport.get_extra_info("socket"))

    def close(self) -> None:
        """In good order: close_notify, the client's, FIN."""
        if self.transport is not None:
            self.transport.close()

    def end(self) -> None:
        """FIN; the client has acknowledged all, close_notify too, and need not send its own.

        RFC 8446 section 6.1: close_notify ends one direction.  RFC 5246 section 7.2.1: nobody has
        to wait for the other's.
        """
        if self.transport is not None:
            self.transport.abort()

    def abort(self) -> None:
        """With a reset: without it the kernel would still send what lies in its buffer."""
        task, self._task = self._task, None
        if self.transport is None:
            if task is not None:
                task.cancel()
            return
        sock = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # closed already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.transport.abort()

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done.

        The client's first bytes, and its end, may have come in one segment with its Finished: they
        are handed over before the task that waits for the handshake runs again.  So whatever
        decides about the connection is done here.
        """
        self.transport = transport
        transfer = self.transfer
        if transfer.ended:  # by ABOR, while the handshake was ending
            self.abort()
            return
        session = transfer.session
        if session.site.settings.tls_session_reuse and not reused(transport):
            session.worker.log.event("tls_session_not_reused", address=session.address)
            transfer.fail(522, "A TLS session of this server must be used again.")
            return
        # room() comes whenever what was written has gone: the kernel's buffer is enough ahead.
        self.transport.set_write_buffer_limits(0, 0)
        transfer.begin()

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


def context_of(session: Session) -> ssl.SSLContext | None:
    """The control connection's: a reload may have made another, which knows no session of it."""
    transport = session.transport
    used = None if transport is None else transport.get_extra_info("sslcontext")
    return used or session.site.tls


def reused(transport: asyncio.BaseTransport) -> bool:
    """Whether the client has gone on with a TLS session that this server has given out.

    Any such session will do, of whatever connection: a stranger who knows nothing of this server
    cannot take the place of a client (RFC 4217 section 10.2), who has had a TLS connection here
    can.  Which session a ticket is of, the ssl module does not say.
    """
    tls = transport.get_extra_info("ssl_object")
    return bool(tls is not None and tls.session_reused)
