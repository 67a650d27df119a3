"""An answer: its head as bytes, and where its body comes from.

A head names no software and no version: who looks for a hole need not be told.
"""

from __future__ import annotations

import http
import os
import time

from headrace.serve.http.conditions import format_date
from headrace.serve.http.ranges import Span

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in http.HTTPStatus
}
# RFC 9110 has other words for these than some versions of Python.
STATUS_LINES[413] = b"HTTP/1.1 413 Content Too Large\r\n"
STATUS_LINES[414] = b"HTTP/1.1 414 URI Too Long\r\n"
STATUS_LINES[416] = b"HTTP/1.1 416 Range Not Satisfiable\r\n"

CONTINUE = STATUS_LINES[100] + b"\r\n"
NOSNIFF = b"X-Content-Type-Options: nosniff\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n" + NOSNIFF
# These have no content, and no Content-Length that would have to be that of a GET's answer.
BODILESS = frozenset((100, 204, 304))


class Answer:
    """A status, header fields (whole lines), and a body: of bytes, or of parts of a file.

    *pieces* are sent one after the other; a Span is that part of the file *fd*, which is the
    answer's to close.  *length_bytes* is the body's length, also where it is not sent (HEAD).
    """

    __slots__ = ("fd", "fields", "length_bytes", "path", "pieces", "status")

    def __init__(self, status: int, fields: bytes = b"", body: bytes = b"") -> None:
        self.status = status
        self.fields = fields
        self.length_bytes = len(body)
        self.pieces: list[bytes | Span] = [body] if body else []
        self.fd = -1
        self.path = ""  # virtual, of the file

    def without_body(self) -> None:
        """For HEAD: "the server MUST NOT send content" (RFC 9110 section 9.3.2)."""
        self.pieces = []
        self.close()

    def close(self) -> None:
        """Give the file back; again does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __repr__(self) -> str:
        return f"<Answer {self.status} length_bytes={self.length_bytes} fd={self.fd}>"


class DateLine:
    """The Date field, made once a second."""

    __slots__ = ("_line", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def line(self, now_s: float) -> bytes:
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._line = b"Date: " + format_date(second) + b"\r\n"
        return self._line


_date = DateLine()


def head(answer: Answer, *, minor: int, keep_alive: bool) -> bytes:
    """The head of *answer*, to a request of HTTP/1.*minor*."""
    status = answer.status
    length = b"" if status in BODILESS else b"Content-Length: %d\r\n" % answer.length_bytes
    if not keep_alive:
        connection = b"Connection: close\r\n\r\n"
    elif minor == 0:
        connection = b"Connection: keep-alive\r\n\r\n"
    else:
        connection = b"\r\n"
    return b"%b%b%b%b%b" % (
        STATUS_LINES[status], _date.line(time.time()), answer.fields, length, connection
    )  # fmt: skip


def text(status: int, message: str, fields: bytes = b"") -> Answer:
    """A short answer in plain words."""
    return Answer(status, TEXT + fields, f"{status} {message}\n".encode("utf-8", "replace"))
