"""Data connections with everything sent and not everything taken.

226 is said when the last byte is with the kernel.  That may hold it for half a minute, where the
client is slow: the socket is kept until the client has taken everything, so that a slow reader
stays bound by the limits and the log tells complete transfers from those that were cut.

Such connections outlive their session, so they keep its place at the gate: else a client that asks,
quits and comes again would have as many as it likes, and none of the limits would see them.
"""

from __future__ import annotations

import fcntl
import socket
from typing import TYPE_CHECKING

from headrace.serve.ftp.passive import reset
from headrace.serve.logs import GONE
from headrace.serve.meters import Meter

if TYPE_CHECKING:
    from headrace.serve.ftp.transfer import Transfer

__all__ = ["Lingering", "unsent"]

# <linux/sockios.h>: bytes of the send queue that the peer has not acknowledged.
SIOCOUTQ = 0x5411
# <netinet/tcp.h>: the first byte of struct tcp_info is the state.
TCP_CLOSE = 7


def unsent(sock: socket.socket) -> int:
    """How many bytes the peer has not acknowledged yet."""
    return int.from_bytes(fcntl.ioctl(sock, SIOCOUTQ, b"\0\0\0\0"), "little")


def is_closed(sock: socket.socket) -> bool:
    """Has the connection ended, by a reset or a timeout?"""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE


class Lingering:
    """One of them; a session looks after its latest, the worker after all others."""

    __slots__ = ("elsewhere", "progress", "sock", "transfer", "watched")

    def __init__(self, transfer: Transfer, sock: socket.socket) -> None:
        self.transfer = transfer
        self.sock = sock
        self.progress = transfer.progress
        self.elsewhere = False  # with the worker
        self.watched = False

    def has_ended(self) -> bool:
        return self.sock.fileno() < 0

    def drained(self) -> bool:
        """Close the socket if the client has taken everything, or has gone; else False."""
        return self.waiting_bytes() == 0

    def waiting_bytes(self) -> int:
        """What the client has not taken; 0: that is all, or it has gone, and the socket is closed.

        A peer's reset is an error; what it had not acknowledged may stay in the count for ever.
        """
        try:
            waiting = unsent(self.sock)
            if waiting and not is_closed(self.sock):
                return waiting
            error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            complete = not waiting and not error
        except OSError:
            complete = False
        self.close(complete)
        return 0

    def sweep(self, now: float) -> bool:
        """As drained(); and reset a connection whose reader takes too long.  True: it is over."""
        if self.has_ended():
            return True
        session = self.transfer.session
        limits = session.worker.limits
        if not self.progress.is_due(now, limits):
            return False
        waiting = self.waiting_bytes()
        if not waiting:
            return True
        moved = self.transfer.done - waiting
        if not self.progress.too_slow(now, moved, limits):
            return False
        session.site.meters.add(Meter.TIMEOUTS)
        session.worker.log.event(
            "transfer_stalled",
            address=session.address,
            path=self.transfer.served_path(),
            bytes=moved,
        )
        self.transfer.reason = "stalled"
        self.abort()
        return True

    def abort(self) -> None:
        """The client has had its time, or asks for it: reset."""
        self.leave_worker()
        reset(self.sock)
        if self.transfer.reason == GONE:
            self.transfer.reason = "not_taken"
        self.transfer.log(complete=False)

    def close(self, complete: bool) -> None:
        self.leave_worker()
        self.sock.close()
        self.transfer.log(complete=complete)

    def join_worker(self) -> None:
        """Its session has other things to do, or has gone.

        The client's FIN or reset says that it is over: nobody else may ask soon.
        """
        session = self.transfer.session
        if not session.hold_place():
            self.abort()
            return
        worker = session.worker
        if len(worker.lingering) >= worker.limits.lingering_max:
            next(iter(worker.lingering)).abort()
        self.elsewhere = True
        session.lingering_elsewhere += 1
        worker.lingering[self] = None
        self.watch()

    def leave_worker(self) -> None:
        self.unwatch()
        if self.elsewhere:
            session = self.transfer.session
            self.elsewhere = False
            session.lingering_elsewhere -= 1
            del session.worker.lingering[self]
            session.leave_place()

    def watch(self) -> None:
        self.watched = True
        self.transfer.session.worker.loop.add_reader(self.sock.fileno(), self.readable)

    def unwatch(self) -> None:
        if self.watched:
            self.watched = False
            self.transfer.session.worker.loop.remove_reader(self.sock.fileno())

    def readable(self) -> None:
        """The client has closed its side, or sends what nobody asked for."""
        if not self.drained():
            # It has closed for writing and may read on: the sweeper looks after it.
            self.unwatch()
