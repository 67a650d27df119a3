"""From the client to us: what comes is written under a temporary name, and renamed when whole.

Whole means: the client has closed its side in good order, and is still there.  A reset, a stall, a
full disk or an abort leave the file that was there as it was (`Upload.discard`).  All uploads of a
worker are received into one buffer: a session that uploads needs none of its own.

Facts.  FTP's stream has no length: the end of the bytes is a FIN, and of a client that is killed
the kernel sends the same FIN, on both of its connections within microseconds and in any order.  RFC
959 section 4.1.1 tells them apart: "An unexpected close on the control connection will cause the
server to take the effective action of an abort (ABOR) and a logout (QUIT)."

Decisions.

* After the data's end the control connection has COMMIT_GRACE_S to end as well; then nothing is
  replaced.  That is meant for a client that closes both on purpose as well, or only its sending
  side of the control connection: nobody can tell it from one that was killed, and who wants to know
  that a file has arrived has to read the 226.
* ALLO's number is not compared with what came: it is storage to be reserved, as much as the client
  says (RFC 959 section 4.1.3), and not the length of what follows; of TYPE A, or behind REST,
  clients say the file's size.
* What is on its way to the disk can be stopped no more: it is told how that ended, to ABOR as well.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from headrace.serve.ftp.ascii import FromLines
from headrace.serve.ftp.on_socket import OnSocket
from headrace.serve.ftp.transfer import ABORTED, Transfer
from headrace.serve.upload import Upload

if TYPE_CHECKING:
    from headrace.serve.ftp.core import Command
    from headrace.serve.ftp.session import Session

__all__ = ["COMMIT_GRACE_S", "Receiving", "SocketReceiving"]

COMMIT_GRACE_S = 0.02
"""So much later than the data's end that of the control connection may come: what a killed client's
kernel sends at once, and a network or a busy loop pulls apart."""


class Receiving(Transfer):
    """An upload, however its bytes arrive: into the file, within the quota, and the end."""

    __slots__ = (
        "begin_text",
        "bytes_max",
        "committing",
        "convert",
        "reply_text",
        "upload",
        "waiting",
        "whole",
    )

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
        begin_text: str | None = None,
    ) -> None:
        super().__init__(session, verb, path, "i")
        self.upload: Upload | None = upload
        self.offset = upload.offset
        self.bytes_max = bytes_max
        self.convert = FromLines() if text else None
        self.reply_text = reply_text
        self.begin_text = begin_text
        self.whole = False  # the client has closed its side in good order
        self.committing = False
        self.waiting: Command | None = None  # an ABOR that came too late

    def beginning(self) -> str:
        return self.begin_text or super().beginning()

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
        """The client has closed in good order: what came is the file, unless it has gone."""
        if self.whole or self.ended:
            return
        self.whole = True
        self.unwatch()
        self.timer = self.session.worker.loop.call_later(COMMIT_GRACE_S, self.commit)

    def commit(self) -> None:
        self.timer = None
        upload = self.upload
        if upload is None or self.ended:
            return
        if not self.session.client_is_there():
            self.fail(426, ABORTED)
            return
        try:
            if self.convert is not None:
                self.write(self.convert.end())
        except OSError as error:
            self.fail_with(error)
            return
        except Exception as error:  # nobody else would end this transfer
            self.fail_with_mistake(error)
            return
        self.upload = None  # it ends by itself now, whatever becomes of the session
        self.committing = True
        worker = self.session.worker
        if not upload.waits_for_disk or not worker.in_thread(self.committed, upload.commit):
            try:
                upload.commit()
            except Exception as error:
                self.committed(None, error)
            else:
                self.committed(None, None)

    def committed(self, _: object, error: BaseException | None) -> None:
        """The file has its name, or an error says why not."""
        self.committing = False
        if error is not None:
            failed = error if isinstance(error, OSError) else OSError(errno.EIO, str(error))
            self.fail_with(failed)
            return
        self.ended = True
        self.close_connection()
        self.log(complete=True)
        self.session.transfer_ended(self, 226, self.reply_text)

    def fail(self, code: int, text: str) -> None:
        if not self.committing:
            super().fail(code, text)

    def sweep(self, now: float) -> None:
        if not self.whole:
            super().sweep(now)

    def waits(self, command: Command) -> bool:
        if self.committing:
            self.waiting = command
        return self.committing

    def waiting_command(self) -> Command | None:
        return self.waiting

    def goes_on(self) -> bool:
        return not (self.ended or self.whole)

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


class SocketReceiving(OnSocket, Receiving):
    """From a plain socket, one recv() for each turn of the loop."""

    __slots__ = ()

    def start(self, sock: socket.socket) -> None:
        self.sock = sock
        self.turn()

    def step(self) -> int:
        sock = self.sock
        if sock is None:
            return 0
        buffer = self.session.worker.receive_buffer
        room = len(buffer) if self.pace is None else self.pace.share_bytes
        count = sock.recv_into(buffer, min(room, len(buffer)))
        if count:
            self.take(buffer[:count])
        else:
            self.succeed()
        return count

    def watch(self, fd: int) -> None:
        self.session.worker.loop.add_reader(fd, self.turn)

    def forget(self, fd: int) -> None:
        self.session.worker.loop.remove_reader(fd)
