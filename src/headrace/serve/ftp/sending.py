"""From us to the client, unencrypted: files by sendfile(), and chunks of bytes.

Facts.  sendfile() answers how much fitted into the socket's buffer; less than was asked for means
that the buffer is full, and a second call would only say EAGAIN.  The kernel says "writable" when a
third of the buffer is free, so a larger buffer means fewer turns of the loop for the same bytes: a
file that fits whole is sent within the command, and the socket is never watched.

Decision: one call for each turn, of at most SEND_BYTES_MAX, so that one fast client does not hold
up the others.  A file is sent up to the size that it had when it was opened: one that grows
meanwhile (a log) is not followed, one that shrinks ends in 451, and one that is replaced goes on as
it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from os import sendfile
from typing import TYPE_CHECKING

from headrace.serve.ftp.lingering import Lingering, unsent
from headrace.serve.ftp.on_socket import OnSocket
from headrace.serve.send_buffer import lift_if_fast, limit_send_buffer

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["ChunkSending", "FileSending", "Sending"]

SEND_BYTES_MAX = 512 * 1024
# Larger files are read ahead, so much at once: sendfile() of what is not in memory blocks.
READ_AHEAD_BYTES = 4 * 1024 * 1024
READ_AHEAD_FROM_BYTES = 1024 * 1024
# Some file systems cannot: there the bytes take the way through this process.
NO_SENDFILE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
COPY_BYTES = 64 * 1024


class Sending(OnSocket):
    """The socket's side: when it is full, when it is the rate's turn, and the end."""

    __slots__ = ("is_lifted",)

    def start(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_lifted = False
        limit_send_buffer(sock, self.session.worker.limits)
        self.turn()

    def wait_ready(self) -> None:
        if not self.is_lifted and self.sock is not None:
            limits = self.session.worker.limits
            self.is_lifted = lift_if_fast(self.sock, limits, self.done, self.progress.began_s)
        super().wait_ready()

    def watch(self, fd: int) -> None:
        self.session.worker.loop.add_writer(fd, self.turn)

    def forget(self, fd: int) -> None:
        self.session.worker.loop.remove_writer(fd)

    def moved(self) -> int:
        return self.done - unsent(self.sock) if self.sock is not None else self.done

    def succeed(self) -> None:
        """Everything is in the kernel's buffer: end the stream, and let the client take it."""
        sock = self.sock
        if sock is None:
            return
        self.ended = True
        self.unwatch()
        self.release()
        self.sock = None
        with contextlib.suppress(OSError):  # reset by the peer: Lingering finds that out
            sock.shutdown(socket.SHUT_WR)
        self.session.linger(Lingering(self, sock))
        self.session.transfer_ended(self, 226, "Transfer complete.")


class FileSending(Sending):
    """A file as it is (TYPE I); *file* is a descriptor, closed at the end."""

    __slots__ = ("begin", "copies", "end", "file", "read_ahead")

    def __init__(
        self, session: Session, verb: str, path: str, file: int, offset: int, end: int
    ) -> None:
        super().__init__(session, verb, path, "o")
        self.file = file
        self.begin = self.offset = offset
        self.copies = False
        self.end = end
        self.read_ahead = offset if self.end - offset >= READ_AHEAD_FROM_BYTES else self.end

    def size_bytes(self) -> int:
        return self.end - self.begin

    def step(self) -> int:
        if self.sock is None:
            return 0
        offset = self.offset
        if offset >= self.read_ahead and offset < self.end:
            self.advise(offset)
        count = min(self.end - offset, SEND_BYTES_MAX)
        if self.pace is not None:
            count = min(count, self.pace.share_bytes)
        sent = self.send_part(self.sock, offset, count) if count > 0 else 0
        self.offset = offset = offset + sent
        self.done += sent
        if offset >= self.end:
            self.succeed()
        elif not sent:
            self.fail(451, "The file has become shorter; transfer aborted.")
        return sent

    def send_part(self, sock: socket.socket, offset: int, count: int) -> int:
        if not self.copies:
            try:
                return sendfile(sock.fileno(), self.file, offset, count)
            except OSError as error:
                if error.errno not in NO_SENDFILE:
                    raise
                self.copies = True
        data = os.pread(self.file, min(count, COPY_BYTES), offset)
        return sock.send(data) if data else 0

    def advise(self, offset: int) -> None:
        """Have the kernel read what comes next while this goes out."""
        if offset < self.end:
            os.posix_fadvise(self.file, offset, 2 * READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
            self.read_ahead = offset + READ_AHEAD_BYTES

    def release(self) -> None:
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


class ChunkSending(Sending):
    """What an iterator of bytes makes: listings, and files that are converted (TYPE A).

    *file* is what the iterator reads, closed at the end; -1 for none.
    """

    __slots__ = ("chunks", "file", "rest")

    def __init__(
        self,
        session: Session,
        verb: str,
        path: str,
        chunks: Iterator[bytes],
        file: int = -1,
    ) -> None:
        super().__init__(session, verb, path, "o" if file >= 0 else "")
        self.chunks: Iterator[bytes] | None = chunks
        self.file = file
        self.rest: bytes | memoryview = b""

    def step(self) -> int:
        if self.sock is None or self.chunks is None:
            return 0
        if not self.rest:
            chunk = next(self.chunks, None)
            if chunk is None:
                self.succeed()
                return 0
            self.rest = memoryview(chunk)
        allowed = len(self.rest) if self.pace is None else self.pace.share_bytes
        sent = self.sock.send(self.rest[:allowed])
        self.done += sent
        self.rest = self.rest[sent:]
        return sent

    def release(self) -> None:
        self.chunks = None
        self.rest = b""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
