"""Listings as bytes for the data connection: LIST, NLST and MLSD; and MLST's one line.

Nothing defines LIST.  Clients take it for the output of `ls -l`, so it is that: the type and the
permissions, links, owner, group, size, date and name.  The time of day is given for the last six
months, else the year (POSIX, ls).  Times are UTC, which is what lftp takes for granted and most
servers say.  Owner and group are "ftp" always: numbers and names of the machine are nobody's.

A line's end is the only separator that LIST, NLST and MLSD have, and none of them has a way to
quote it.  Names with control characters (a line's end, an escape sequence for the reader's
terminal) are left out of NLST and MLSD, which programs read to use the names as they stand; LIST
shows them with question marks, as `ls -q` does.  A name that is no UTF-8 is sent as the bytes it
is.

A listing is never one string: generators yield chunks, each of which can be forgotten when it has
been sent.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from headrace.serve.ftp.arguments import BadArgument, format_time
from headrace.serve.users import Rights

CHUNK_BYTES = 16384
"""A chunk is sent when it has so many bytes; it has one line more at most."""
PATTERN_CHARACTERS_MAX = 128
PATTERN_STARS_MAX = 8
"""Work for one name grows with the pattern's length and stars; Linux's names have 255 bytes."""

_HALF_A_YEAR_S = 31_556_952 // 2  # the Gregorian year's mean, as GNU ls has it
# A file that another machine has written may be a little in the future.
_FUTURE_S = 3600
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_OPTIONS = re.compile(r"(?:-[A-Za-z0-9]+(?: +|$))+")
_WILD = re.compile(r"[*?\[]")


class Named(Protocol):
    """What is listed: `headrace.serve.tree.Entry`, or its like."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> os.stat_result: ...


class Listed(NamedTuple):
    """What LIST, NLST and STAT were asked for.

    `path` is to be looked for first, for a name may have a star in it.  If there is no such file
    and `pattern` is not None, the files in `folder` whose names fit are meant.
    """

    path: str
    folder: str
    pattern: str | None

    @property
    def prefix(self) -> str:
        """What NLST has before the names in a folder: clients use what it sends as paths as they
        are (RFC 1123 section 4.1.2.7)."""
        folder = self.path if self.pattern is None else self.folder
        return folder if not folder or folder.endswith("/") else folder + "/"


def parse_list_argument(text: str, stars_max: int = PATTERN_STARS_MAX) -> Listed:
    """LIST's argument, without options such as -la, which clients send as if to `ls`.

    Raises
        BadArgument: the last name is a pattern beyond the limits.
    """
    options = _OPTIONS.match(text)
    path = text[options.end() :] if options else text
    folder, slash, last = path.rpartition("/")
    if not _WILD.search(last):
        return Listed(path, path, None)
    if len(last) > PATTERN_CHARACTERS_MAX or last.count("*") > stars_max:
        raise BadArgument(501, "The pattern is too long, or has too many stars")
    return Listed(path, folder or slash, last)


def select(entries: Iterable[Named], pattern: str | None) -> list[Named]:
    """Those whose names fit; a leading dot must be in the pattern, as in a shell.

    "*" never spans folders: names have no slash.
    """
    if pattern is None:
        return list(entries)
    fits = re.compile(fnmatch.translate(pattern)).match
    hidden = pattern.startswith(".")
    return [
        entry
        for entry in entries
        if (hidden or not entry.name.startswith(".")) and fits(entry.name)
    ]


def list_chunks(entries: Iterable[Named], now_s: float) -> Iterator[bytes]:
    """LIST: `ls -l`, in chunks."""
    return _chunks(_list_line(entry.name, entry.status, now_s) for entry in entries)


def name_chunks(entries: Iterable[Named], prefix: str = "") -> Iterator[bytes]:
    """NLST: names, each behind `prefix`, in chunks."""
    head = encode_name(prefix)
    return _chunks(
        b"%b%b\r\n" % (head, encode_name(entry.name))
        for entry in entries
        if not has_control(entry.name)
    )


def fact_chunks(
    entries: Iterable[Named], facts: tuple[str, ...], rights: Rights
) -> Iterator[bytes]:
    """MLSD: facts and names, in chunks (RFC 3659 section 7.2)."""
    makers = [MAKERS[fact] for fact in facts]
    permissions = Permissions(rights)
    return _chunks(
        _fact_line(entry.name, entry.status, makers, permissions)
        for entry in entries
        if not has_control(entry.name)
    )


def fact_line(path: str, status: os.stat_result, facts: tuple[str, ...], rights: Rights) -> str:
    """MLST: what stands between the answer's first and last line, without the leading blank."""
    makers = [MAKERS[fact] for fact in facts]
    return "".join(maker(status, Permissions(rights)) for maker in makers) + " " + path


def list_line(name: str, status: os.stat_result, now_s: float) -> str:
    """One line of `ls -l`, for the answer to STAT; without the line's end."""
    when = format_date(status.st_mtime, now_s)
    mode = stat.filemode(status.st_mode)
    shown = _CONTROL.sub("?", name) if has_control(name) else name
    return f"{mode} {status.st_nlink:4} ftp      ftp      {status.st_size:12} {when} {shown}"


def format_date(modified_s: float, now_s: float) -> str:
    """The date as "Jan  2 03:04" in the last six months, else "Jan  2  2003"; UTC."""
    try:
        year, month, day, hour, minute = time.gmtime(modified_s)[:5]
    except (OverflowError, ValueError, OSError):
        year, month, day, hour, minute = (1970, 1, 1, 0, 0)
    if -_FUTURE_S <= now_s - modified_s < _HALF_A_YEAR_S:
        return f"{_MONTHS[month - 1]} {day:2} {hour:02}:{minute:02}"
    return f"{_MONTHS[month - 1]} {day:2} {year:5}"


def encode_name(name: str) -> bytes:
    """A name as the bytes that the folder has (RFC 2640: UTF-8, where it is)."""
    return name.encode("utf-8", "surrogateescape")


def has_control(name: str) -> bool:
    """A line's end, an escape character or their like is in the name."""
    if name.isascii() and name.isprintable():
        return False
    return _CONTROL.search(name) is not None


def _list_line(name: str, status: os.stat_result, now_s: float) -> bytes:
    return encode_name(list_line(name, status, now_s)) + b"\r\n"


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk.clear()
            size = 0
    if chunk:
        yield b"".join(chunk)


class Permissions:
    """The perm fact of files and folders, for one client's rights (RFC 3659 section 7.5.5).

    It says what this client may do by the rights that it has been given; whether the system allows
    it as well is found out by trying.
    """

    __slots__ = ("file", "folder")

    def __init__(self, rights: Rights) -> None:
        def letters(*pairs: tuple[str, Rights]) -> str:
            return "".join(letter for letter, wanted in pairs if wanted in rights)

        self.file = letters(
            ("a", Rights.REPLACE),
            ("d", Rights.DELETE),
            ("f", Rights.RENAME),
            ("r", Rights.READ),
            ("w", Rights.REPLACE),
        )
        # "e": CWD needs no right.  "p": what is in the folder may be removed; a folder itself is
        # removed by RMD.
        self.folder = letters(
            ("c", Rights.CREATE),
            ("d", Rights.FOLDERS),
            ("e", Rights(0)),
            ("f", Rights.RENAME),
            ("l", Rights.LIST),
            ("m", Rights.FOLDERS),
            ("p", Rights.DELETE),
        )


def _fact_line(
    name: str,
    status: os.stat_result,
    makers: list[Callable[[os.stat_result, Permissions], str]],
    permissions: Permissions,
) -> bytes:
    facts = "".join([maker(status, permissions) for maker in makers])
    return b"%b %b\r\n" % (facts.encode("ascii"), encode_name(name))


def _type(status: os.stat_result, permissions: Permissions) -> str:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        return "type=file;"
    if stat.S_ISDIR(mode):
        return "type=dir;"
    # A link that leads out of the tree or nowhere; a device, a pipe, a socket: not to be read.
    return "type=OS.unix=symlink;" if stat.S_ISLNK(mode) else "type=OS.unix=special;"


def _size(status: os.stat_result, permissions: Permissions) -> str:
    return f"size={status.st_size};" if stat.S_ISREG(status.st_mode) else ""


def _modify(status: os.stat_result, permissions: Permissions) -> str:
    return f"modify={format_time(status.st_mtime)};"


def _perm(status: os.stat_result, permissions: Permissions) -> str:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        return f"perm={permissions.folder};"
    return f"perm={permissions.file};" if stat.S_ISREG(mode) else "perm=;"


def _unique(status: os.stat_result, permissions: Permissions) -> str:
    # RFC 3659 section 7.5.2: the same file has the same value, whatever path leads to it.
    return f"unique={status.st_dev:x}g{status.st_ino:x};"


def _mode(status: os.stat_result, permissions: Permissions) -> str:
    return f"UNIX.mode={stat.S_IMODE(status.st_mode):04o};"


MAKERS: dict[str, Callable[[os.stat_result, Permissions], str]] = {
    "type": _type,
    "size": _size,
    "modify": _modify,
    "perm": _perm,
    "unique": _unique,
    "UNIX.mode": _mode,
}
