"""Replies as the bytes that go to the client (RFC 959 section 4.2).

A reply is one line, or several of which the first has a hyphen after its code and the last a blank.
What lies between must not look like the last line: "if an intermediary line begins with a 3-digit
number, the Server must pad the front to avoid confusion" (RFC 959 section 4.2).  So each of them
begins with one blank, which RFC 2389 (FEAT) and RFC 3659 (MLST) ask for as well.

File names, users' names and errors of the system become part of replies.  A CR LF in one of them
would end the reply, and what follows would be read as another: it is the session's answers that the
client believes, not a file's name.  So no control character leaves this module but the line's end.
"""

from __future__ import annotations

from collections.abc import Iterable

# C0, DEL and C1 (terminals take U+009B for "ESC [").  One mark for each, so that columns stay.
_HARMLESS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "?")
_TELNET_IAC = b"\xff"


class Reply:
    """One whole answer: its code, and the bytes to be sent."""

    __slots__ = ("code", "data")

    def __init__(self, code: int, data: bytes) -> None:
        self.code = code
        self.data = data

    def __repr__(self) -> str:
        return f"<Reply {self.code} {self.data!r}>"

    @property
    def closes(self) -> bool:
        """The connection is to be closed when this has been sent (RFC 959: 221 and 421)."""
        return self.code in (221, 421)


def reply(code: int, text: str) -> Reply:
    """An answer of one line."""
    return Reply(code, b"%d %b\r\n" % (code, encode_text(text)))


def reply_lines(code: int, first: str, between: Iterable[str], last: str) -> Reply:
    """An answer of several lines; none of those between can be taken for the last one."""
    lines = [b"%d-%b\r\n" % (code, encode_text(first))]
    lines += [b" %b\r\n" % encode_text(line) for line in between]
    lines.append(b"%d %b\r\n" % (code, encode_text(last)))
    return Reply(code, b"".join(lines))


def path_reply(code: int, path: str, text: str) -> Reply:
    """257 with its path in quotes, and text after it (RFC 959 appendix II)."""
    return reply(code, f"{quote_path(path)} {text}")


def quote_path(path: str) -> str:
    """A path in quotes, those in it doubled (RFC 959 appendix II)."""
    return '"' + path.replace('"', '""') + '"'


def encode_text(text: str) -> bytes:
    """Text of one line of the control connection.

    Control characters become question marks.  Names are UTF-8 (RFC 2640), or the bytes that they
    were.  A byte 255 is Telnet's IAC and is doubled (RFC 854); no UTF-8 text has one.
    """
    if text.isascii() and text.isprintable():
        return text.encode("ascii")
    data = text.translate(_HARMLESS).encode("utf-8", "surrogateescape")
    return data.replace(_TELNET_IAC, _TELNET_IAC * 2) if _TELNET_IAC in data else data
