"""A body on its way: from the page cache to the socket, as fast as the client takes it.

Facts.  sendfile(2) on a socket that does not block moves what fits into the socket's buffer and
says how much.  When nothing fits, somebody has to say when something does; asyncio has no public
way to wait for that on a transport's descriptor, except by writing.  So the next small piece is
written to the transport, whose resume_writing() comes when the kernel has taken it: and then, since
the kernel wakes a writer when a third of the buffer is free, sendfile() moves far more.  A slow
client costs one such piece of memory, on every loop and model.

sendfile() writes to the descriptor behind the transport's back: allowed while the transport has
nothing of its own to send.  Under TLS, and where the descriptor blocks (the `blocking` model's
threads want that), larger pieces are read and written instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from headrace.serve.http.answers import Answer
from headrace.serve.http.ranges import Span

# What is read and written together with the head: one send, one packet for small files.  From about
# here on the copying costs more than another system call; 100 KiB took 109 us of CPU with 32 KiB
# read first, and 66 us with the head alone (uring, loopback, 2.6 GHz).
FIRST_BYTES_MAX = 16 * 1024
# What is written where the socket is full: it waits in memory.
PIECE_BYTES = 4 * 1024
# The same where all bytes go through the transport; what TLS makes of it is a little more.
COPIED_PIECE_BYTES = 64 * 1024
# Of files so large, so much is read ahead.
READ_AHEAD_FROM_BYTES = 1024 * 1024
READ_AHEAD_BYTES = 4 * 1024 * 1024
# After so many the others have their turn.
TURN_BYTES_MAX = 1024 * 1024


class FileTruncated(OSError):
    """The file ended before what was promised of it: the connection cannot go on."""


class Sending:
    """The rest of one answer.  pump() until it says that all is written."""

    __slots__ = (
        "_ahead", "_answer", "_direct_fd", "_next", "_transport", "began_s", "length_bytes",
        "path", "sent_bytes",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport, answer: Answer, *, direct: bool) -> None:
        self._transport = transport
        self._answer = answer
        self._next = 0
        self.began_s = 0.0
        self.path = answer.path
        self.length_bytes = answer.length_bytes
        self.sent_bytes = 0
        self._ahead = 0
        self._direct_fd = -1
        if direct and answer.length_bytes > FIRST_BYTES_MAX:
            fd = transport.get_extra_info("socket").fileno()
            self._direct_fd = -1 if os.get_blocking(fd) else fd

    def begin(self, head: bytes) -> bool:
        """Write the head with the first bytes of the body; True: that was all of it."""
        first = b"" if self._direct_fd >= 0 else self._read(FIRST_BYTES_MAX - len(head))
        self._transport.write(head + first)
        return self._next == len(self._answer.pieces)

    def pump(self, turn_bytes_max: int = TURN_BYTES_MAX) -> bool | None:
        """Send what can be sent; True: all is; None: more in another turn, so much was sent.

        False: go on at resume_writing().  Raises FileTruncated, OSError.
        """
        transport, answer = self._transport, self._answer
        turn_bytes = 0
        while self._next < len(answer.pieces):
            if transport.is_closing() or transport.get_write_buffer_size():
                return False
            left_bytes = turn_bytes_max - turn_bytes
            if left_bytes <= 0:
                return None
            piece = answer.pieces[self._next]
            if self._direct_fd >= 0 and isinstance(piece, Span):
                sent = self._send_directly(piece, left_bytes)
                if sent:
                    turn_bytes += sent
                    continue
                data = self._read(min(PIECE_BYTES, left_bytes))
            else:
                data = self._read(min(COPIED_PIECE_BYTES, left_bytes))
            turn_bytes += len(data)
            transport.write(data)
        return True

    def _send_directly(self, span: Span, bytes_max: int) -> int:
        """How many bytes the socket took; 0: it is full."""
        count = min(span.length_bytes, bytes_max)
        if span.offset + count > self._ahead and self.length_bytes >= READ_AHEAD_FROM_BYTES:
            self._read_ahead(span.offset)
        try:
            sent = os.sendfile(self._direct_fd, self._answer.fd, span.offset, count)
        except BlockingIOError:
            return 0
        if sent == 0:
            raise FileTruncated("the file has become shorter")
        self._took(span, sent)
        return sent

    def _read_ahead(self, offset: int) -> None:
        """What is not in memory yet would hold up the whole loop when it is sent."""
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._answer.fd, offset, READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
        self._ahead = offset + READ_AHEAD_BYTES // 2

    def _read(self, bytes_max: int) -> bytes:
        """The next bytes of the body, of one piece or of several."""
        pieces = self._answer.pieces
        if len(pieces) == 1 and isinstance(pieces[0], Span) and pieces[0][1] <= bytes_max:
            # Nearly always: all of a small file.
            span = pieces[0]
            data = os.pread(self._answer.fd, span.length_bytes, span.offset)
            if len(data) != span.length_bytes:
                raise FileTruncated("the file has become shorter")
            self.sent_bytes += len(data)
            self._next = 1
            return data
        parts: list[bytes] = []
        while bytes_max > 0 and self._next < len(pieces):
            piece = pieces[self._next]
            if isinstance(piece, Span):
                data = os.pread(self._answer.fd, min(bytes_max, piece.length_bytes), piece.offset)
                if not data:
                    raise FileTruncated("the file has become shorter")
                self._took(piece, len(data))
            else:
                data = piece
                self._next += 1
                self.sent_bytes += len(data)
            parts.append(data)
            bytes_max -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _took(self, span: Span, count: int) -> None:
        self.sent_bytes += count
        if count == span.length_bytes:
            self._next += 1
        else:
            rest = Span(span.offset + count, span.length_bytes - count)
            self._answer.pieces[self._next] = rest

    def close(self) -> None:
        self._answer.close()
