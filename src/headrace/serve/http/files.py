"""A file as an answer: which of its forms, which of its bytes, or why not.

Plain system calls and no socket: this may run wherever there is a tree.
"""

from __future__ import annotations

import os
import secrets
from functools import lru_cache

from headrace.serve.http import conditions
from headrace.serve.http.answers import NOSNIFF, Answer
from headrace.serve.http.conditions import format_date
from headrace.serve.http.core import Request
from headrace.serve.http.ranges import Span, Unsatisfiable, content_range
from headrace.serve.http.ranges import parse as parse_ranges
from headrace.serve.http.types import accepted_codings, content_type
from headrace.serve.tree import Tree

# A client may keep what it has, if it asks whether it still holds.
VALIDATORS = (
    b"ETag: %b\r\nLast-Modified: %b\r\nAccept-Ranges: bytes\r\nCache-Control: no-cache\r\n"
    b"Vary: Accept-Encoding\r\n"
)
# What is said of the files asked for last; a path has 4,095 bytes at most.
FIELDS_CACHED_MAX = 1024


def entity_tag(status: os.stat_result) -> bytes:
    """Changes whenever the file does: uploads make new files, and writers change the time.

    Strong, as RFC 9110 section 8.8.1 has it, as far as the file system's clock can tell.
    """
    return _tag(status.st_ino, status.st_size, status.st_mtime_ns)


def _tag(inode: int, size: int, modified_ns: int) -> bytes:
    return b'"%x-%x-%x"' % (inode, size, modified_ns)


def answer_file(tree: Tree, path: str, request: Request, now_s: float) -> Answer:
    """200, 206, 304, 412 or 416, with the file open where its bytes are to be sent.

    Raises OSError, IsADirectoryError where it is a folder.
    """
    fd = tree.open_file(path)
    try:
        coding = b""
        if b"accept-encoding" in request.fields:
            fd, coding = _encoded(tree, path, request.fields[b"accept-encoding"], fd)
        answer = _answer(request, path, coding, os.fstat(fd), now_s)
        if answer.pieces and request.method == b"GET":
            answer.fd, fd = fd, -1
            answer.path = path
        return answer
    finally:
        if fd >= 0:
            os.close(fd)


def _encoded(tree: Tree, path: str, accepted: bytes, fd: int) -> tuple[int, bytes]:
    """The file beside it that has the same content in a coding the client likes, if there is one.

    One that is older than the file itself is a leftover, and has another content.
    """
    for name, ending in accepted_codings(accepted):
        if path.endswith(ending):
            continue
        try:
            encoded_fd = tree.open_file(path + ending)
        except OSError:
            continue
        if os.fstat(encoded_fd).st_mtime_ns >= os.fstat(fd).st_mtime_ns:
            os.close(fd)
            return encoded_fd, name
        os.close(encoded_fd)
    return fd, b""


def _answer(
    request: Request, path: str, coding: bytes, status: os.stat_result, now_s: float
) -> Answer:
    size, modified_s = status.st_size, status.st_mtime_ns // 10**9
    tag, validators, described, whole = _fields(
        path, coding, status.st_ino, size, status.st_mtime_ns
    )
    failed = conditions.evaluate(request.method, request.fields, tag, modified_s)
    if failed is not None:
        return Answer(failed, validators)
    # RFC 9110 section 14.2: a Range is to be ignored where range handling is not defined for the
    # method, and it is defined for GET only.
    if b"range" in request.fields and request.method == b"GET" and size:
        try:
            spans = _ranges(request, size, tag, modified_s, now_s)
        except Unsatisfiable:
            return Answer(416, b"Content-Range: bytes */%d\r\n" % size)
        if spans is not None:
            return _partial(described, content_type(path), spans, size)
    answer = Answer(200, whole)
    if size:
        answer.pieces = [Span(0, size)]
    answer.length_bytes = size
    return answer


@lru_cache(FIELDS_CACHED_MAX)
def _fields(
    path: str, coding: bytes, inode: int, size: int, modified_ns: int
) -> tuple[bytes, bytes, bytes, bytes]:
    """The entity tag; fields for 304, for 206, and for 200: of the same file always the same."""
    tag = _tag(inode, size, modified_ns)
    validators = VALIDATORS % (tag, format_date(modified_ns // 10**9))
    described = validators + NOSNIFF
    if coding:
        described += b"Content-Encoding: %b\r\n" % coding
    return tag, validators, described, described + b"Content-Type: %b\r\n" % content_type(path)


def _ranges(
    request: Request, size: int, tag: bytes, modified_s: int, now_s: float
) -> list[Span] | None:
    if not conditions.range_applies(request.fields, tag, modified_s, now_s):
        return None
    return parse_ranges(request.fields[b"range"], size)


def _partial(described: bytes, kind: bytes, spans: list[Span], size: int) -> Answer:
    if len(spans) == 1:
        one = b"Content-Type: %b\r\nContent-Range: %b\r\n" % (kind, content_range(spans[0], size))
        answer = Answer(206, described + one)
        answer.pieces = [spans[0]]
        answer.length_bytes = spans[0].length_bytes
        return answer
    # RFC 9110 section 14.6.  The boundary must not be in the file: chance sees to that.
    boundary = secrets.token_hex(16).encode()
    several = b"Content-Type: multipart/byteranges; boundary=%b\r\n" % boundary
    answer = Answer(206, described + several)
    before = b""
    for span in spans:
        part = b"%b--%b\r\nContent-Type: %b\r\nContent-Range: %b\r\n\r\n" % (
            before, boundary, kind, content_range(span, size)
        )  # fmt: skip
        answer.pieces += [part, span]
        before = b"\r\n"
    answer.pieces.append(b"\r\n--%b--\r\n" % boundary)
    answer.length_bytes = sum(
        piece.length_bytes if isinstance(piece, Span) else len(piece) for piece in answer.pieces
    )
    return answer
