"""Encrypted data connections with everything sent and not everything taken: as plain ones.

The client has our close_notify when it has acknowledged all.  From then on it owes nothing: if it
sends its own soon, the transport ends; if not, the next look, by the sweeper or with the client's
next command, closes the connection.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from headrace.serve.ftp.lingering import Lingering, unsent
from headrace.serve.ftp.tls_channel import TlsChannel
from headrace.serve.logs import GONE

if TYPE_CHECKING:
    from headrace.serve.ftp.data_tls import TlsSending

__all__ = ["TlsLingering"]


class TlsLingering(Lingering):
    """One of them; the loop's transport has the socket."""

    __slots__ = ("channel",)
    transfer: TlsSending

    def __init__(self, transfer: TlsSending, channel: TlsChannel) -> None:
        super().__init__(transfer, channel.transport.get_extra_info("socket"))
        self.channel: TlsChannel | None = channel

    def has_ended(self) -> bool:
        return self.channel is None

    def waiting_bytes(self) -> int:
        if self.channel is None:
            return 0
        try:
            waiting = self.channel.unsent_bytes()
        except OSError:
            return 1  # lost() says how it has ended
        if not waiting:
            self.close(complete=True)
        return waiting

    def abort(self) -> None:
        channel = self.leave()
        if channel is not None:
            channel.abort()
            if self.transfer.reason == GONE:
                self.transfer.reason = "not_taken"
            self.transfer.log(complete=False)

    def close(self, complete: bool) -> None:
        channel = self.leave()
        if channel is not None:
            channel.end()
            self.transfer.log(complete=complete)

    def lost(self, error: BaseException | None) -> None:
        """The transport has ended by itself; None: in good order."""
        if self.channel is None:
            return
        session, elsewhere = self.transfer.session, self.elsewhere
        rest = self.untaken() if error is None else None
        self.channel = None
        if session.lingering is self:
            session.lingering = rest
        elif rest is not None and elsewhere:
            rest.join_worker()  # before this one leaves: the client's place is kept
        self.leave()
        if rest is None:
            self.transfer.log(complete=error is None)

    def untaken(self) -> Lingering | None:
        """A client that has closed its side early: what it has not taken, as of a plain connection.

        The transport closes its descriptor now, and the kernel would go on alone, in no limit.
        """
        try:
            if not unsent(self.sock):
                return None
            sock = self.sock.dup()
        except (OSError, ValueError):  # it is closed already
            return None
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        return Lingering(self.transfer, sock)

    def leave(self) -> TlsChannel | None:
        """Nobody looks after it any more; None: that was so already."""
        channel, self.channel = self.channel, None
        self.transfer.lingering = None
        self.leave_worker()
        return channel

    def watch(self) -> None:
        """The transport reads, and says when the client has gone."""
