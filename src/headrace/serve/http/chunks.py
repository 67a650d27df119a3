"""The chunked transfer coding, decoded: RFC 9112 section 7.1, and not one byte more lenient.

httptools does not tell where a message has ended when more bytes follow; so heads are its part, and
bodies ours.  What a lenient recipient might read differently from a strict one (spaces around a
size, a bare LF, "0x") is refused: such differences are how requests are smuggled.
"""

from __future__ import annotations

import re

# A size, and extensions that mean nothing to us.
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
CRLF = b"\r\n"
LINE_BYTES_MAX = 512
TRAILERS_BYTES_MAX = 8192
# Sizes and extensions may be so many bytes, and so many for each byte of the body: a chunk of one
# byte costs five more.
OVERHEAD_BYTES_MAX = 16384
OVERHEAD_PER_BYTE_MAX = 8

SIZE, DATA, DATA_END, TRAILERS, END = range(5)


class MalformedChunk(ValueError):
    """The peer's body is not what the coding allows."""


class ChunkDecoder:
    """Takes bytes, gives the body's; stops exactly where the body ends."""

    __slots__ = (
        "_body_bytes",
        "_error",
        "_left_bytes",
        "_overhead_bytes",
        "_state",
        "_trailers_bytes",
    )

    def __init__(self) -> None:
        self._state = SIZE
        self._left_bytes = 0
        self._body_bytes = 0
        self._error: MalformedChunk | None = None
        self._overhead_bytes = 0
        self._trailers_bytes = 0

    @property
    def ended(self) -> bool:
        return self._state == END

    def decode(self, data: bytes | bytearray, begin: int = 0) -> tuple[list[bytes], int]:
        """The parts of the body in *data* from *begin* on, and up to where it is done with.

        The rest is to be given again, with more behind it, or belongs to the next message if
        `ended`.  Raises MalformedChunk.
        """
        if self._error is not None:
            raise self._error
        parts: list[bytes] = []
        position = begin
        while self._state != END:
            if self._state == DATA:
                step = min(self._left_bytes, len(data) - position)
                if step == 0:
                    break
                parts.append(bytes(data[position : position + step]))
                self._took(step)
            else:
                try:
                    step = self._read_line(data, position)
                except MalformedChunk as error:
                    if not parts:
                        raise
                    # What came before it counts, as if it had come alone.
                    self._error = error
                    break
                if step == 0:
                    break
            position += step
        return parts, position

    def _read_line(self, data: bytes | bytearray, position: int) -> int:
        """How long the line is, with its end; 0: it is not whole yet.  Raises MalformedChunk."""
        if self._state == DATA_END and not CRLF.startswith(bytes(data[position : position + 2])):
            raise MalformedChunk("a chunk is longer than its size says")
        end = data.find(b"\n", position, position + LINE_BYTES_MAX)
        if end < 0:
            if len(data) - position >= LINE_BYTES_MAX:
                raise MalformedChunk("a line between chunks is too long")
            return 0
        if data[end - 1 : end] != b"\r" or end == position:
            raise MalformedChunk("a line between chunks ends without CR")
        self._take_line(bytes(data[position : end - 1]))
        return end + 1 - position

    def _took(self, step: int) -> None:
        self._body_bytes += step
        self._left_bytes -= step
        if self._left_bytes == 0:
            self._state = DATA_END

    def _take_line(self, line: bytes) -> None:
        self._overhead_bytes += len(line) + 2
        allowed = OVERHEAD_BYTES_MAX + OVERHEAD_PER_BYTE_MAX * self._body_bytes
        if self._overhead_bytes > allowed:
            raise MalformedChunk("more is said about the body than there is of it")
        if self._state == SIZE:
            match = SIZE_LINE.fullmatch(line)
            if match is None:
                raise MalformedChunk("no size of a chunk")
            self._left_bytes = int(match[1], 16)
            self._state = DATA if self._left_bytes else TRAILERS
        elif self._state == DATA_END:
            self._state = SIZE
        elif not line:
            self._state = END
        else:
            self._take_trailer(line)

    def _take_trailer(self, line: bytes) -> None:
        """Trailers are dropped: RFC 9110 section 6.5.1 allows it, and none means anything here."""
        self._trailers_bytes += len(line)
        if self._trailers_bytes > TRAILERS_BYTES_MAX or TRAILER.fullmatch(line) is None:
            raise MalformedChunk("trailers malformed, or too many")
