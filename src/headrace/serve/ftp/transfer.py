"""One transfer: what every kind has in common, from the connection to the line in xferlog.

A transfer ends once, by `succeed()` or `fail()`, and tells its session.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from typing import TYPE_CHECKING

from headrace.serve.ftp.passive import reset
from headrace.serve.ftp.progress import Pace, Progress
from headrace.serve.logs import GONE, reason_of
from headrace.serve.logs import Transfer as LoggedTransfer
from headrace.serve.meters import Meter

if TYPE_CHECKING:
    from headrace.serve.ftp.core import Command
    from headrace.serve.ftp.session import Session

__all__ = ["ABORTED", "Transfer"]

# What went wrong with the client's connection, and not with us.
PEER_ERRORS = frozenset(
    {
        errno.EPIPE,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
    }
)
ABORTED = "Connection closed; transfer aborted."


class Transfer:
    """What runs over one data connection; made by a command, started once it is connected.

    *verb* and *path* are for the log; `done` counts the bytes of the data connection.
    """

    __slots__ = (
        "direction",
        "done",
        "ended",
        "held_bytes",
        "is_text",
        "mail",
        "offset",
        "pace",
        "path",
        "progress",
        "reason",
        "session",
        "sock",
        "timer",
        "user",
        "verb",
        "watched",
    )

    def __init__(self, session: Session, verb: str, path: str, direction: str) -> None:
        """*direction*: "o" from us, "i" to us; empty for listings, which are not logged."""
        self.session = session
        # Who may be another before the log is written.
        self.user = session.core.state.user
        self.mail = session.core.state.mail
        self.verb = verb
        self.path = path
        self.direction = direction
        self.is_text = session.core.state.type == "A"
        self.sock: socket.socket | None = None
        self.done = 0
        self.offset = 0
        self.held_bytes = 0  # of memory, until it has ended: a listing
        self.ended = False
        self.reason = GONE  # the log's, should it fail
        self.watched = False
        self.progress = Progress(time.monotonic())
        self.timer: asyncio.TimerHandle | None = None
        rate = self.rate_max() if direction else None
        self.pace = Pace(rate, self.progress.began_s) if rate else None

    def rate_max(self) -> int | None:
        """Bytes a second; None: as fast as it goes."""
        of_all = self.session.worker.limits.rate_bytes_per_s_max
        of_user = self.user.rate_bytes_per_s_max if self.user is not None else None
        if of_all is None or of_user is None:
            return of_user if of_all is None else of_all
        return min(of_all, of_user)

    def start(self, sock: socket.socket) -> None:
        """The connection is there; it is the transfer's from now on."""
        raise NotImplementedError

    def size_bytes(self) -> int | None:
        """How many bytes there will be, if that is known."""
        return None

    def beginning(self) -> str:
        """What 150 says."""
        size = self.size_bytes()
        # Clients look for the size in brackets.
        return "Transfer begins." if size is None else f"Transfer begins ({size} bytes)."

    def succeed(self) -> None:
        raise NotImplementedError

    def fail_as(self, reason: str, code: int, text: str) -> None:
        """fail(), with a reason for the log; else that is the reply's text."""
        if not self.ended:
            self.reason = reason
        self.fail(code, text)

    def fail(self, code: int, text: str) -> None:
        """Give up: the client's end is told by a reset, the session by a reply."""
        if self.ended:
            return
        self.ended = True
        self.unwatch()
        self.release()
        self.drop_connection()
        if self.reason == GONE and text is not ABORTED:
            self.reason = text
        self.log(complete=False)
        self.session.transfer_ended(self, code, text)

    def fail_with(self, error: OSError) -> None:
        """Say whose fault an error was (RFC 959 section 4.2.2: 426, 451, 452, 552)."""
        reason = reason_of(error)
        if error.errno in PEER_ERRORS:
            self.fail(426, ABORTED)
        elif error.errno == errno.ENOSPC:
            self.fail_as(reason, 452, "The disk is full; nothing was changed.")
        elif error.errno in (errno.EDQUOT, errno.EFBIG):
            self.fail_as(reason, 552, "The quota is used up; nothing was changed.")
        else:
            self.fail_as(reason, 451, f"Local error: {error.strerror}.")

    def fail_with_mistake(self, error: Exception) -> None:
        """Ours, and not the client's."""
        self.session.worker.unexpected(error)
        self.fail(451, "The server has made a mistake; it is logged.")

    def waits(self, command: Command) -> bool:
        """ABOR: whether it comes too late and has to wait for the end that is coming."""
        return False

    def waiting_command(self) -> Command | None:
        """What has waited."""
        return None

    def sweep(self, now: float) -> None:
        """Called every few seconds: has it stalled?"""
        limits = self.session.worker.limits
        if not self.progress.is_due(now, limits):
            return
        try:
            moved = self.moved()
        except OSError:
            return  # the writer or the reader will find out
        if self.timer is not None and moved >= self.done:
            self.progress.hold(now)  # the client has taken all that its rate allows by now
        rate_max = None if self.pace is None else self.pace.rate
        if self.progress.too_slow(now, moved, limits, rate_max=rate_max):
            self.session.site.meters.add(Meter.TIMEOUTS)
            self.session.worker.log.event(
                "transfer_stalled",
                address=self.session.address,
                path=self.served_path(),
                bytes=moved,
            )
            self.fail_as("stalled", 426, "The data connection has stalled; transfer aborted.")

    def moved(self) -> int:
        """How many bytes the client has sent, or taken."""
        return self.done

    def goes_on(self) -> bool:
        """Are there bytes to come?"""
        return not self.ended

    def unwatch(self) -> None:
        """No callback of the loop comes after this."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def drop_connection(self) -> None:
        """With a reset."""
        if self.sock is not None:
            reset(self.sock)
            self.sock = None

    def release(self) -> None:
        """Close the file, forget the iterator."""

    def served_path(self) -> str:
        """The path, from the served folder on."""
        return self.path if self.user is None else self.user.served_path(self.path)

    def log(self, *, complete: bool) -> None:
        """The line in xferlog, and the meters; `reason` has been set where it is not complete."""
        if not self.direction:
            return
        incoming = self.direction == "i"
        session, user = self.session, self.user
        meters = session.site.meters
        if not complete:
            meters.add(Meter.TRANSFERS_FAILED)
        else:
            meters.add(Meter.FILES_RECEIVED if incoming else Meter.FILES_SENT)
        meters.add(Meter.BYTES_RECEIVED if incoming else Meter.BYTES_SENT, self.done)
        session.worker.log.transfer(
            LoggedTransfer(
                path=self.served_path(),
                address=session.address,
                bytes=self.done,
                seconds=time.monotonic() - self.progress.began_s,
                user=user.name if user is not None else "",
                incoming=incoming,
                complete=complete,
                anonymous=user is not None and user.is_anonymous,
                password=self.mail,
                binary=not self.is_text,
                service="ftps" if session.encrypted else "ftp",
                reason="" if complete else self.reason,
            )
        )
