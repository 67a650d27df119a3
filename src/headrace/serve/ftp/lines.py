"""The lines of a control connection, out of whatever pieces they come in; bounded.

A line ends with a line feed; a carriage return before it belongs to the end (RFC 959 section 5.3.2
has CR LF, RFC 1123 section 4.1.2.12 lets nobody count on how it is cut, and people who type send
LF). Telnet's commands are taken out (telnet.py).

A line that is too long is cut while it comes: of it stays what shows that it was too long, and at
its end it counts as one line.  All together, no more than `pending_bytes_max` lies unread: who
sends more than that without waiting for answers is not heard any further.
"""

from __future__ import annotations

from headrace.serve.ftp.replies import Reply, reply
from headrace.serve.ftp.telnet import Telnet

TOO_LONG = reply(500, "The line is too long")


class Lines:
    """What has come and is not yet taken."""

    __slots__ = (
        "_at",
        "_cut",
        "_deaf",
        "_line_bytes_max",
        "_pending_bytes_max",
        "_telnet",
        "_unread",
        "flooded",
    )

    def __init__(self, line_bytes_max: int, pending_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._pending_bytes_max = pending_bytes_max
        self._unread = b""
        self._at = 0  # of _unread: what is before has been taken
        self._cut = False  # the last line in _unread is too long, and its rest is dropped
        self._deaf = False
        self._telnet: Telnet | None = None
        self.flooded = False
        """More has come than may lie unread; set once, and whoever has said so clears it."""

    def __repr__(self) -> str:
        return f"<Lines pending={self.pending_bytes}{' deaf' * self._deaf}{' cut' * self._cut}>"

    @property
    def pending_bytes(self) -> int:
        return len(self._unread) - self._at

    @property
    def deaf(self) -> bool:
        """What comes is dropped."""
        return self._deaf

    @property
    def full(self) -> bool:
        """A whole line waits, and more; what is cut of a line that is too long never counts."""
        return len(self._unread) - self._at > self._line_bytes_max + 1

    def receive(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._telnet is not None or b"\xff" in data:
            data = self._strip_telnet(data)
        if self._cut:
            # The rest of a line that is too long: only its end matters.
            end = data.find(b"\n")
            if end < 0:
                return
            data = data[end:]
            self._cut = False
        if self._at < len(self._unread):
            data = self._unread[self._at :] + data
        self._unread = data
        self._at = 0
        if len(data) > self._line_bytes_max:
            self._bound()

    def _bound(self) -> None:
        """Cuts the last line if it is too long already; beyond the limit of all, hears no more."""
        begin = self._unread.rfind(b"\n") + 1
        end = begin + self._line_bytes_max + 1
        if len(self._unread) >= end:
            self._unread = self._unread[:end]
            self._cut = True
        if len(self._unread) > self._pending_bytes_max:
            self.flooded = True
            self.stop_hearing()

    def _strip_telnet(self, data: bytes) -> bytes:
        if self._telnet is None:
            self._telnet = Telnet()
        data = self._telnet.strip(data)
        if self._telnet.idle:
            self._telnet = None
        return data

    def take_refusals(self) -> bytes:
        """Telnet's answers to the options that the client spoke of; empty most of the time."""
        if self._telnet is None:
            return b""
        refusals = self._telnet.refusals
        self._telnet.refusals = b""
        if self._telnet.idle:
            self._telnet = None
        return refusals

    def take_line(self) -> bytes | Reply | None:
        """The next line without its end; the answer to one that was too long; None: none yet."""
        at = self._at
        end = self._unread.find(b"\n", at)
        if end < 0:
            return None
        line = self._unread[at:end]
        self._at = end + 1
        if self._at == len(self._unread):
            self._unread = b""
            self._at = 0
        if len(line) > self._line_bytes_max:
            return TOO_LONG
        return line.removesuffix(b"\r")

    def stop_hearing(self) -> None:
        """Drops what is unread, and what comes, until hear_again()."""
        self._deaf = True
        self._unread = b""
        self._at = 0
        self._cut = False
        self._telnet = None

    def hear_again(self) -> None:
        self._deaf = False
