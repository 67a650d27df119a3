"""From the client to us: what comes is written under a temporary name, and renamed when whole.

Whole means: the client has closed its side in good order.  A reset, a stall, a full disk or an
abort leave the file that was there as it was (`Upload.discard`).  All uploads of a worker are
received into one buffer: a session that uploads needs none of its own.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

from headrace.serve.ftp.ascii import FromLines
from headrace.serve.ftp.transfer import Transfer
from headrace.serve.upload import Upload

if TYPE_CHECKING:
    from headrace.serve.ftp.session import Session

__all__ = ["Receiving", "SocketReceiving"]


class Receiving(Transfer):
    """An upload, however its bytes arrive: into the file, within the quota, and the end."""

    __slots__ = ("bytes_max", "convert", "reply_text", "upload")

    def __init__(
        self,
        session: Session,
        verb: str,
        path: str,
        upload: Upload,
        *,
        bytes_max: int | None,
        text: bool = False,
        reply_text: str = "Transfer complete.",
    ) -> None:
        super().__init__(session, verb, path, "i")
        self.upload: Upload | None = upload
        self.offset = upload.offset
        self.bytes_max = bytes_max
        self.convert = FromLines() if text else None
        self.reply_text = reply_text

    def take(self, data: memoryview | bytes) -> None:
        """Write what came; raises OSError, and `QuotaUsedUp` which is one."""
        self.done += len(data)
        if self.bytes_max is not None and self.done > self.bytes_max:
            raise QuotaUsedUp
        if self.convert is not None:
            data = self.convert.convert(bytes(data))
        self.write(data)

    def write(self, data: memoryview | bytes) -> None:
        upload = self.upload
        if upload is None:
            return
        written = os.write(upload.fd, data) if data else 0
        # A disk that fills up writes a part; the next call says why.
        while written < len(data):
            written += os.write(upload.fd, data[written:])

    def succeed(self) -> None:
        """The client has closed in good order: what came is the file."""
        upload = self.upload
        if upload is None or self.ended:
            return
        try:
            if self.convert is not None:
                self.write(self.convert.end())
        except OSError as error:
            self.fail_with(error)
            return
        self.unwatch()
        self.upload = None  # it ends by itself now, whatever becomes of the session
        worker = self.session.worker
        if not upload.waits_for_disk or not worker.in_thread(self.committed, upload.commit):
            try:
                upload.commit()
            except OSError as error:
                self.fail_with(error)
            else:
                self.committed(None, None)

    def committed(self, _: object, error: BaseException | None) -> None:
        """The file has its name, or an error says why not."""
        if self.ended:
            return
        if error is not None:
            failed = error if isinstance(error, OSError) else OSError(errno.EIO, str(error))
            self.fail_with(failed)
            return
        self.ended = True
        self.close_connection()
        self.log(complete=True)
        self.session.transfer_ended(self, 226, self.reply_text)

    def close_connection(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def release(self) -> None:
        if self.upload is not None:
            self.upload.discard()
            self.upload = None


class QuotaUsedUp(OSError):
    """More came than the user may store."""

    def __init__(self) -> None:
        super().__init__(errno.EDQUOT, os.strerror(errno.EDQUOT))


class SocketReceiving(Receiving):
    """From a plain socket, one recv() for each turn of the loop."""

    __slots__ = ()

    def start(self, sock: socket.socket) -> None:
        self.sock = sock
        self.turn()

    def turn(self) -> None:
        sock = self.sock
        if sock is None:
            return
        worker = self.session.worker
        buffer = worker.receive_buffer
        room = len(buffer) if self.pace is None else self.pace.share_bytes
        try:
            count = sock.recv_into(buffer, min(room, len(buffer)))
            if count:
                self.take(buffer[:count])
        except BlockingIOError:
            self.wait_readable()
            return
        except OSError as error:
            self.fail_with(error)
            return
        if not count:
            self.succeed()
        elif self.pace is None:
            self.wait_readable()
        else:
            self.wait_pace(count)

    def wait_readable(self) -> None:
        if not self.watched and self.sock is not None:
            self.watched = True
            self.session.worker.loop.add_reader(self.sock.fileno(), self.turn)

    def wait_pace(self, count: int) -> None:
        pause_s = self.pace.spend(count, time.monotonic()) if self.pace is not None else 0.0
        if pause_s <= 0:
            self.wait_readable()
            return
        self.unwatch()
        self.timer = self.session.worker.loop.call_later(pause_s, self.turn)

    def unwatch(self) -> None:
        super().unwatch()
        if self.watched and self.sock is not None:
            self.watched = False
            self.session.worker.loop.remove_reader(self.sock.fileno())
