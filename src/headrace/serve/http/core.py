"""HTTP/1.1 as a server hears it: bytes in, requests and their bodies out; no I/O, no clock.

RFC 9112.  httptools (llhttp) reads the heads, whole ones only: so limits are kept before it sees a
byte, nothing of the next message is read while one is being answered, and a parser is needed only
while a head is read.  An idle connection has none: parsers are shared, and lent.

Decisions, each against a way to smuggle a request past one reader in the eyes of another
(RFC 9112 section 11.2): Content-Length and Transfer-Encoding together, two of either, folded
lines, bare CR or LF, white space before a colon, two Hosts: all are 400, and the connection ends.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import httptools

from headrace.serve.http.chunks import ChunkDecoder, MalformedChunk


class HeadLimits(NamedTuple):
    line_bytes_max: int = 8 * 1024
    head_bytes_max: int = 32 * 1024
    fields_max: int = 100


# RFC 9112 section 2.2: "at least one empty line" before a request is to be ignored.
EMPTY_LINES_MAX = 4
# Parsers kept for the next head.
PARSERS_MAX = 32

# RFC 9112 section 3, one SP between the parts; the target's characters are VCHAR.
REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/1\.([01])\r\n")
ANY_VERSION = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e]+ HTTP/[0-9]\.[0-9]\r\n")
ABSOLUTE_FORM = re.compile(rb"(?i:https?)://([^/?#]*)([^#]*)")
# RFC 3986 section 3.2: a host, perhaps in brackets, perhaps with a port; RFC 9110 section 7.2
# allows an empty one.
HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-fvV:.]+\])(?::[0-9]*)?")

# Those that somebody may mean; any other is no method at all: 501, not 405.
METHODS = frozenset((
    b"GET", b"HEAD", b"OPTIONS", b"PUT", b"POST", b"DELETE", b"PATCH", b"TRACE", b"MKCOL", b"COPY",
    b"MOVE", b"PROPFIND", b"PROPPATCH", b"LOCK", b"UNLOCK", b"SEARCH",
))  # fmt: skip

HEAD, BODY, CHUNKS, BROKEN = range(4)


class Request:
    """A request's head.  Field names are in lower case; a field sent twice is joined by commas."""

    __slots__ = ("chunked", "fields", "keep_alive", "length_bytes", "method", "minor", "target")

    def __init__(self, method: bytes, target: bytes, minor: int, fields: dict[bytes, bytes]):
        self.method = method
        self.target = target  # in origin-form, as sent: percent-encoded, with its query; or "*"
        self.minor = minor  # of HTTP/1.x
        self.fields = fields
        self.chunked = False
        self.length_bytes: int | None = None  # of the body, where it is told
        self.keep_alive = minor == 1

    @property
    def has_body(self) -> bool:
        """Will BodyPart and EndOfBody follow?"""
        return self.chunked or bool(self.length_bytes)

    @property
    def expects_continue(self) -> bool:
        """Does the client wait for "100 Continue"?  (RFC 9110 section 10.1.1.)"""
        return self.minor == 1 and self.fields.get(b"expect", b"").lower() == b"100-continue"

    def __repr__(self) -> str:
        return f"<Request {self.method!r} {self.target!r} HTTP/1.{self.minor}>"


class BodyPart(NamedTuple):
    data: bytes


class EndOfBody(NamedTuple):
    pass


class Fault(NamedTuple):
    """The peer's mistake: to be answered with this status, and then the connection ends."""

    status: int
    reason: str


END_OF_BODY = EndOfBody()


class Core:
    """One connection's requests, one at a time."""

    __slots__ = (
        "_begin", "_chunks", "_empty_lines", "_left_bytes", "_limits", "_pending", "_seen",
        "_state",
    )  # fmt: skip

    def __init__(self, limits: HeadLimits = HeadLimits()) -> None:  # noqa: B008 (immutable)
        self._limits = limits
        self._pending: bytes | bytearray = b""
        self._begin = 0  # where what is in no event yet begins: to cut it off there copies the rest
        self._seen = 0  # up to here there is no end of a head
        self._state = HEAD
        self._left_bytes = 0
        self._chunks: ChunkDecoder | None = None
        self._empty_lines = 0

    @property
    def pending_bytes(self) -> int:
        """Received, and in no event yet."""
        return len(self._pending) - self._begin

    @property
    def in_body(self) -> bool:
        return self._state in (BODY, CHUNKS)

    def receive(self, data: bytes) -> None:
        if self._state == BROKEN:
            return
        if not self._pending:
            self._pending = data
        elif type(self._pending) is bytearray and not self._begin:
            self._pending += data
        else:
            self._pending = bytearray(memoryview(self._pending)[self._begin :]) + data
            self._seen = max(self._seen - self._begin, 0)
            self._begin = 0

    def _used(self, end: int) -> None:
        """What is pending before *end* is in an event now; of what is used up nothing is kept."""
        if end == len(self._pending):
            self._pending = b""
            self._begin = self._seen = 0
        else:
            self._begin = self._seen = end

    def next_event(self) -> Request | BodyPart | EndOfBody | Fault | None:
        """What comes next in what was received; None: more is needed.

        A Request with a body is followed by BodyPart, any number of times, and EndOfBody.  After a
        Fault there is nothing more, whatever is received.
        """
        if self._state == HEAD:
            return self._next_head() if self._pending else None
        if self._state == BODY:
            return self._next_part()
        if self._state == CHUNKS:
            return self._next_chunk()
        return None

    # Heads.

    def _next_head(self) -> Request | Fault | None:
        pending = self._pending
        while pending.startswith(b"\r\n", self._begin):
            self._empty_lines += 1
            if self._empty_lines > EMPTY_LINES_MAX:
                return self._broken(400, "nothing but empty lines")
            self._used(self._begin + 2)
            pending = self._pending
        if not pending:
            return None
        begin = self._begin
        end = pending.find(b"\r\n\r\n", max(self._seen - 3, begin))
        fault = self._beyond_limits(end)
        if fault is not None:
            return fault
        if end < 0:
            self._seen = len(pending)
            return None
        head = bytes(pending[begin : end + 4])
        self._used(end + 4)
        self._empty_lines = 0
        return self._read_head(head)

    def _beyond_limits(self, end: int) -> Fault | None:
        pending, begin, limits = self._pending, self._begin, self._limits
        size = (len(pending) if end < 0 else end + 4) - begin
        line_bytes_max = limits.line_bytes_max
        if size > line_bytes_max and pending.find(b"\r\n", begin, begin + line_bytes_max) < 0:
            return self._broken(414, "the request line is too long")
        if size > limits.head_bytes_max:
            return self._broken(431, "the head is too long")
        if end < 0 and self._is_no_head():
            return self._broken(400, "that is no HTTP")
        return None

    def _is_no_head(self) -> bool:
        """Is it plain already that no head comes?  Who sends it need not wait for the time-out."""
        pending, begin, start = self._pending, self._begin, max(self._seen, self._begin)
        bare = pending.count(b"\n", start) != pending.count(b"\r\n", max(start - 1, begin))
        return bare or not (0x21 <= pending[begin] <= 0x7E or pending[begin:] == b"\r")

    def _read_head(self, head: bytes) -> Request | Fault:
        line = REQUEST_LINE.match(head)
        if line is None:
            known = ANY_VERSION.match(head)
            if known:
                return self._broken(505, "HTTP/1.0 and HTTP/1.1 are spoken here")
            return self._broken(400, "malformed request line")
        if head.count(b"\r\n") - 2 > self._limits.fields_max:
            return self._broken(431, "too many header fields")
        method, target, minor = line.groups()
        if method not in METHODS:
            return self._broken(501, "unknown method")
        try:
            fields = read_fields(head)
        except httptools.HttpParserError as error:
            return self._broken(400, str(error))
        request = Request(method, target, 1 if minor == b"1" else 0, fields)
        return self._framed(request) or self._addressed(request) or request

    def _framed(self, request: Request) -> Fault | None:
        """How long is the body, and does the connection outlive the answer?"""
        fields = request.fields
        if b"transfer-encoding" in fields:
            # RFC 9112 section 6.1: "A server MAY reject a request that contains both", and in
            # HTTP/1.0 "the framing is faulty".
            if request.minor == 0 or b"content-length" in fields:
                return self._broken(400, "faulty framing")
            if fields[b"transfer-encoding"].lower() != b"chunked":
                return self._broken(501, "of transfer codings, chunked alone is understood")
            request.chunked = True
            self._chunks = ChunkDecoder()
            self._state = CHUNKS
        elif b"content-length" in fields:
            # llhttp has seen to it that these are digits.
            request.length_bytes = self._left_bytes = int(fields[b"content-length"])
            self._state = BODY if self._left_bytes else HEAD
        if b"connection" in fields:
            options = [option.strip() for option in fields[b"connection"].lower().split(b",")]
            if b"close" in options:
                request.keep_alive = False
            elif request.minor == 0 and b"keep-alive" in options:
                request.keep_alive = True
        return None

    def _addressed(self, request: Request) -> Fault | None:
        """RFC 9112 section 3.2: forms of the target, and Host."""
        target = request.target
        if target[0] != 0x2F:  # "/"
            absolute = ABSOLUTE_FORM.match(target)
            if absolute is not None:
                path = absolute[2]
                request.target = path if path.startswith(b"/") else b"/" + path
            elif target != b"*" or request.method != b"OPTIONS":
                return self._broken(400, "malformed request target")
        elif b"#" in target:
            return self._broken(400, "a fragment in the request target")
        host = request.fields.get(b"host")
        if host is None:
            return self._broken(400, "no Host") if request.minor else None
        return None if HOST.fullmatch(host) else self._broken(400, "malformed Host")

    def _broken(self, status: int, reason: str) -> Fault:
        self._state = BROKEN
        self._used(len(self._pending))
        return Fault(status, reason)

    # Bodies.

    def _next_part(self) -> BodyPart | EndOfBody | None:
        if self._left_bytes == 0:
            self._state = HEAD
            return END_OF_BODY
        if not self._pending:
            return None
        end = min(self._begin + self._left_bytes, len(self._pending))
        part = bytes(self._pending[self._begin : end])
        self._used(end)
        self._left_bytes -= len(part)
        return BodyPart(part)

    def _next_chunk(self) -> BodyPart | EndOfBody | Fault | None:
        chunks = self._chunks
        assert chunks is not None
        if not chunks.ended and self._pending:
            try:
                parts, end = chunks.decode(self._pending, self._begin)
            except MalformedChunk as error:
                return self._broken(400, str(error))
            self._used(end)
            if parts:
                return BodyPart(b"".join(parts))
        if not chunks.ended:
            return None
        self._chunks = None
        self._state = HEAD
        return END_OF_BODY


class HeadReader:
    """A parser of httptools, and what it tells about one head."""

    __slots__ = ("_parser", "complete", "fields")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.complete = False
        self._parser = httptools.HttpRequestParser(self)

    def read(self, head: bytes) -> dict[bytes, bytes]:
        self.fields = {}
        self.complete = False
        self._parser.feed_data(head)
        return self.fields

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        # Trailing white space is no part of a value: RFC 9112 section 5.1.
        value = value.rstrip(b" \t")
        before = self.fields.get(name)
        if before is not None:
            if name == b"host":
                raise httptools.HttpParserError("Host twice")
            value = before + b", " + value
        self.fields[name] = value

    def on_message_complete(self) -> None:
        self.complete = True


_readers: list[HeadReader] = []


def read_fields(head: bytes) -> dict[bytes, bytes]:
    """The fields of a whole head.  Raises httptools.HttpParserError."""
    reader = _readers.pop() if _readers else HeadReader()
    try:
        fields = reader.read(head)
    except httptools.HttpParserUpgrade:
        # An offer to speak something else, which RFC 9110 section 7.8 lets a server ignore.  The
        # parser expects that other protocol now: it is not used again.
        return reader.fields
    # Where a body or the connection's end is to follow, the parser waits for it.
    reusable = reader.complete and b"connection" not in fields and b" HTTP/1.1\r\n" in head
    if reusable and len(_readers) < PARSERS_MAX:
        _readers.append(reader)
    return fields
