"""TYPE A: lines end in CR LF on the wire and in LF in our files (RFC 959 section 3.1.1.1).

Both ways work on chunks of any size, and a line's end may lie across two of them.  A CR LF that is
in the file already is sent as it is, and a CR alone stays a CR, as other servers do it.
"""

import os
from collections.abc import Iterator

__all__ = ["FromLines", "lines_of"]

CHUNK_BYTES = 64 * 1024


def lines_of(fd: int) -> Iterator[bytes]:
    """A file's bytes as they go over the wire; *fd* stays the caller's."""
    offset = 0
    after_cr = False
    while chunk := os.pread(fd, CHUNK_BYTES, offset):
        offset += len(chunk)
        # The CR of a CR LF may have been the end of the chunk before.
        head = b""
        if after_cr and chunk[0] == 0x0A:
            head, body = b"\n", chunk[1:]
        else:
            body = chunk
        after_cr = chunk[-1] == 0x0D
        yield head + body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class FromLines:
    """What comes over the wire, as the bytes of a file."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def convert(self, data: bytes) -> bytes:
        data = self._held + data
        # Its LF may be what comes next.
        self._held = b"\r" if data.endswith(b"\r") else b""
        if self._held:
            data = data[:-1]
        return data.replace(b"\r\n", b"\n")

    def end(self) -> bytes:
        """What was held back, and is now known to be no line's end."""
        held, self._held = self._held, b""
        return held
