"""The transport's side of a control connection: replies out, TLS, how it is read, how it ends.

Decision.  Replies gather in `out` and go out in one write when a callback has done its work: a file
that fits into the socket's buffer is answered with 150 and 226 in one segment.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from headrace.serve.ftp.core import Core
from headrace.serve.ftp.replies import reply
from headrace.serve.logs import reason_of
from headrace.serve.meters import Meter

if TYPE_CHECKING:
    from headrace.serve.site import Site
    from headrace.serve.worker import Worker

__all__ = ["Control"]

# <netinet/tcp.h>: the first byte of struct tcp_info is the state.
TCP_ESTABLISHED = 1
GREETING = reply(220, "Ready.").data


class Control(asyncio.Protocol):
    """What a session is before it carries out commands."""

    __slots__ = (
        "active_s",
        "address",
        "began_s",
        "closing",
        "core",
        "draining",
        "encrypted",
        "out",
        "places",
        "reading",
        "stuck_s",
        "transport",
        "upgrading",
        "worker",
    )

    def __init__(self, worker: Worker, *, implicit_tls: bool = False) -> None:
        self.worker = worker
        self.core = Core(worker.ftp_setup, tls=implicit_tls)
        self.transport: Any = None
        self.address = ""
        self.out = b""
        self.places = 0  # connections for which the gate keeps the client's place
        self.began_s = self.active_s = time.monotonic()
        self.stuck_s = 0.0  # since when the client has not read its replies; 0: it does
        self.reading = True
        self.closing = False
        self.draining = False
        self.encrypted = False
        self.upgrading = implicit_tls

    @property
    def site(self) -> Site:
        return self.worker.site

    def work(self) -> None:
        """Carry out what can be carried out now."""
        raise NotImplementedError

    def stop_working(self) -> None:
        """Whatever runs for the client is of no use any more."""
        raise NotImplementedError

    def drain(self) -> None:
        """No new transfer; closes when the running one has ended."""
        raise NotImplementedError

    def sweep(self, now: float) -> None:
        """Called every few seconds: is one of the times over?"""
        raise NotImplementedError

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername")
        if not peer:  # gone between accept() and now
            self.transport.abort()
            return
        self.address = peer[0]
        reason = self.worker.admit(self)
        if reason is not None:
            self.closing = True
            if not self.upgrading:
                self.transport.write(reply(421, f"Come back later: {reason}.").data)
            self.transport.close()
        elif self.upgrading:
            self.upgrade(GREETING)
        else:
            self.transport.write(GREETING)

    def pause_writing(self) -> None:
        self.stuck_s = time.monotonic()

    def resume_writing(self) -> None:
        self.stuck_s = 0.0
        self.work()

    def eof_received(self) -> bool | None:
        # RFC 959 section 4.1.1: "An unexpected close on the control connection will cause the
        # server to take the effective action of an abort (ABOR) and a logout (QUIT)."
        return None

    def connection_lost(self, error: BaseException | None) -> None:
        if self.transport is None:
            return
        self.transport = None
        self.closing = True
        self.out = b""
        if self.encrypted:
            self.site.meters.add(Meter.TLS_SESSIONS, -1)
        self.stop_working()
        self.worker.gone(self)

    def hold_place(self) -> bool:
        """One more connection has to end before somebody else may come in.

        False: the client's last one has ended already, and the place is given up.
        """
        if not self.places:
            return False
        self.places += 1
        return True

    def leave_place(self) -> None:
        """A connection that has held the client's place has ended."""
        self.places -= 1
        if not self.places:
            self.worker.release(self)

    def client_is_there(self) -> bool:
        """False: the client has closed, or reset, its side of the control connection.

        The kernel is asked, for it knows of a FIN before the transport does: behind bytes that
        nobody has read yet, while reading is paused, below TLS.
        """
        if self.closing or self.transport is None:
            return False
        sock = self.transport.get_extra_info("socket")
        try:
            state: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except OSError:
            return False
        return state == TCP_ESTABLISHED

    def flush(self) -> None:
        """Send the replies that have gathered."""
        if self.out and self.transport is not None and not self.upgrading:
            data, self.out = self.out, b""
            self.transport.write(data)

    def pause_or_resume(self, pause: bool) -> None:
        self.reading = not pause
        if pause:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    # TLS.

    def upgrade(self, greeting: bytes = b"") -> None:
        """Begin TLS; nothing is read until the transport below TLS reads for it."""
        self.upgrading = True
        self.transport.pause_reading()
        self.worker.spawn(self.shake_hands(greeting))

    async def shake_hands(self, greeting: bytes) -> None:
        worker = self.worker
        context = self.site.tls
        transport = self.transport
        if context is None or transport is None:
            return
        # What comes from now on has come through TLS, the first of it with the handshake's end.
        self.core.tls_begun()
        try:
            upgraded = await worker.loop.start_tls(
                transport,
                self,
                context,
                server_side=True,
                ssl_handshake_timeout=worker.limits.tls_handshake_timeout_s,
                ssl_shutdown_timeout=worker.limits.stall_timeout_s,
            )
        except (OSError, ssl.SSLError, EOFError) as error:
            worker.log.event("tls_failed", address=self.address, reason=reason_of(error))
            self.lose(transport, error)
            return
        except asyncio.CancelledError:
            self.lose(transport, None)
            raise
        except Exception as error:
            worker.unexpected(error)
            self.lose(transport, None)
            return
        self.upgrading = False
        if self.closing or upgraded is None or self.transport is None:
            # Ended by us: then start_tls() answers as if all were well, and of a handshake that was
            # never done nobody else says that the connection is lost.
            self.lose(transport, None)
            return
        self.transport = upgraded
        self.encrypted = True
        self.site.meters.add(Meter.TLS_SESSIONS)
        self.out = greeting + self.out
        self.work()

    def lose(self, transport: asyncio.Transport, error: BaseException | None) -> None:
        """The handshake has come to nothing: the session, and its place at the gate, go."""
        transport.abort()
        self.connection_lost(error)

    # Ends.

    def finish(self) -> None:
        """Send what is left to send, and close."""
        if self.closing:
            return
        self.flush()
        self.closing = True
        self.active_s = time.monotonic()
        self.stop_working()
        if self.transport is not None:
            self.transport.close()

    def say_goodbye(self, text: str = "The server is closing down.") -> None:
        self.out += reply(421, text).data
        self.finish()

    def abort(self) -> None:
        """The end, at once."""
        self.closing = True
        if self.transport is not None:
            self.transport.abort()

    def time_out(self, event: str) -> None:
        """The client has had its time."""
        self.site.meters.add(Meter.TIMEOUTS)
        self.worker.log.event(event, address=self.address)
        if self.upgrading:
            self.abort()
        else:
            self.say_goodbye("Nothing was heard for too long.")
