"""Transfers through TLS: the same as those of plain sockets, over the loop's transports.

The stream ends with close_notify in both directions.  Many clients never send theirs: then their
FIN must do, and a reset is a failure.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.serve.ftp.receiving import Receiving
from headrace.serve.ftp.tls_channel import TlsChannel
from headrace.serve.ftp.tls_lingering import TlsLingering
from headrace.serve.ftp.transfer import ABORTED, Transfer
from headrace.serve.send_buffer import lift_if_fast, limit_send_buffer

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["TlsReceiving", "TlsSending", "file_chunks"]

CHUNK_BYTES = 64 * 1024
# The transport's time for a shutdown counts from close(), and a slow client reads on for longer:
# whether it does, the limits say (`TlsLingering`), and this one never.
SHUTDOWN_TIMEOUT_S = 365 * 86_400.0


def file_chunks(fd: int, offset: int, end: int) -> Iterator[bytes]:
    """A file's bytes from *offset* up to *end*; EOFError where it has become shorter."""
    while offset < end:
        chunk = os.pread(fd, min(CHUNK_BYTES, end - offset), offset)
        if not chunk:
            raise EOFError
        offset += len(chunk)
        yield chunk


class TlsSending(Transfer):
    """Chunks of bytes to the client; *file* is closed at the end, -1 for none."""

    __slots__ = (
        "channel", "chunks", "end", "file", "flushing", "is_lifted", "lingering", "rest",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        verb: str,
        path: str,
        chunks: Iterator[bytes],
        file: int = -1,
        offset: int = 0,
        end: int | None = None,
    ) -> None:
        super().__init__(session, verb, path, "o" if file >= 0 else "")
        self.channel: TlsChannel | None = None
        self.chunks: Iterator[bytes] | None = chunks
        self.file = file
        self.offset = offset
        self.end = end
        self.flushing = False
        self.is_lifted = False
        self.lingering: TlsLingering | None = None
        self.rest = memoryview(b"")  # of a chunk that the rate does not allow at once

    def size_bytes(self) -> int | None:
        return None if self.end is None else max(self.end - self.offset, 0)

    def start(self, sock: socket.socket) -> None:
        limit_send_buffer(sock, self.session.worker.limits)
        self.channel = TlsChannel(self, sock, SHUTDOWN_TIMEOUT_S)

    def begin(self) -> None:
        self.session.worker.loop.call_soon(self.turn)

    def turn(self) -> None:
        """Write the next part, if there is room; the one after it comes in the next turn."""
        self.timer = None
        channel = self.channel
        if self.ended or self.flushing or channel is None:
            return
        if channel.waiting_bytes:
            self.lift_if_fast(channel)
            return  # room() comes
        try:
            part = self.next_part()
        except EOFError:
            self.fail(451, "The file has become shorter; transfer aborted.")
            return
        except OSError as error:
            self.fail_with(error)
            return
        except Exception as error:
            self.fail_with_mistake(error)
            return
        if part is None:
            self.flush(channel)
            return
        channel.transport.write(part)
        self.done += len(part)
        pause_s = 0.0 if self.pace is None else self.pace.spend(len(part), time.monotonic())
        if pause_s > 0:
            self.timer = self.session.worker.loop.call_later(pause_s, self.turn)
        else:
            self.go_on(channel)

    def go_on(self, channel: TlsChannel) -> None:
        """At once, or when there is room."""
        if not channel.waiting_bytes:
            self.session.worker.loop.call_soon(self.turn)
        else:
            self.lift_if_fast(channel)

    def lift_if_fast(self, channel: TlsChannel) -> None:
        if not self.is_lifted:
            limits = self.session.worker.limits
            sock = channel.transport.get_extra_info("socket")
            self.is_lifted = lift_if_fast(sock, limits, self.done, self.progress.began_s)

    def next_part(self) -> bytes | memoryview | None:
        """A chunk, or as much of it as the rate allows at once; None: that was all."""
        if not self.rest:
            chunk = None if self.chunks is None else next(self.chunks, None)
            if chunk is None or self.pace is None:
                return chunk
            self.rest = memoryview(chunk)
        share_bytes = len(self.rest) if self.pace is None else self.pace.share_bytes
        part, self.rest = self.rest[:share_bytes], self.rest[share_bytes:]
        return part

    def flush(self, channel: TlsChannel) -> None:
        """All is written; 226 is said when the transport has passed it on."""
        self.flushing = True
        if not channel.waiting_bytes:
            self.succeed()

    def room(self) -> None:
        if self.flushing:
            self.succeed()
        elif self.timer is None:
            self.turn()

    def moved(self) -> int:
        # At the very beginning what encryption adds is more than what has gone.
        return 0 if self.channel is None else max(self.done - self.channel.unsent_bytes(), 0)

    def succeed(self) -> None:
        if self.ended or self.channel is None:
            return
        self.ended = True
        self.unwatch()
        self.release()
        self.lingering = TlsLingering(self, self.channel)
        self.channel.close()
        self.session.linger(self.lingering)
        self.session.transfer_ended(self, 226, "Transfer complete.")

    def lost(self, error: BaseException | None) -> None:
        if not self.ended:
            self.fail(426, ABORTED)
        elif self.lingering is not None:
            # 226 has been said; whether the client got everything is known now.
            self.lingering.lost(error)

    def take_data(self, data: bytes) -> None:
        """A client that sends where it should receive: nobody reads it."""

    def take_eof(self) -> None:
        """With the client's side of TLS both end; what is not the whole must not look like it."""
        channel = self.channel
        if self.ended or self.flushing or channel is None:
            return
        try:
            is_all_written = self.next_part() is None
        except Exception:  # with the connection goes whatever else is wrong
            is_all_written = False
        if is_all_written:
            self.flush(channel)  # who knows the size closes when all is there, before we know that
        else:
            self.fail(426, ABORTED)

    def drop_connection(self) -> None:
        if self.channel is not None:
            self.channel.abort()

    def release(self) -> None:
        self.chunks = None
        self.rest = memoryview(b"")
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


class TlsReceiving(Receiving):
    """An upload through TLS."""

    __slots__ = ("channel",)
    channel: TlsChannel

    def start(self, sock: socket.socket) -> None:
        self.channel = TlsChannel(self, sock)

    def begin(self) -> None:
        """The transport reads by itself."""

    def take_data(self, data: bytes) -> None:
        if self.ended:
            return
        try:
            self.take(data)
        except OSError as error:
            self.fail_with(error)
            return
        pause_s = 0.0 if self.pace is None else self.pace.spend(len(data), time.monotonic())
        if pause_s > 0:
            self.channel.transport.pause_reading()
            self.timer = self.session.worker.loop.call_later(pause_s, self.go_on)

    def go_on(self) -> None:
        self.timer = None
        self.channel.transport.resume_reading()

    def take_eof(self) -> None:
        self.succeed()

    def lost(self, error: BaseException | None) -> None:
        if self.ended or self.whole:  # over, or all is there
            return
        if error is None:
            self.succeed()
        else:
            self.fail(426, ABORTED)

    def room(self) -> None:
        """Nothing is written here."""

    def close_connection(self) -> None:
        self.channel.close()

    def drop_connection(self) -> None:
        if hasattr(self, "channel"):
            self.channel.abort()
