"""What happened, for people and programs: a line for each event, and the log of transfers.

Text is ``2026-11-27T14:17:05.123Z event key=value key="a value"``, JSON one object a line.  A line
is one write(2) to a descriptor with O_APPEND, so that all workers may share a file.
Nothing that a client sends can begin a line, move a terminal's cursor or change its colours: what
is not printable is escaped, in text and JSON alike.  What is printable stands there as it is, in
UTF-8, whatever the locale says: logs are read elsewhere than they are written.

Logging never fails and never stops the server.  What could not be written (the disk is full) is
counted, said once on standard error, and said in the log as soon as there is room again.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from headrace.serve.repeats import Repeats, Told

__all__ = ["GONE", "Log", "Transfer", "escape", "reason_of", "xferlog_line"]

APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC
LOG_MODE = 0o640
VALUE_CHARACTERS_MAX = 8192
"""Of one value, before it is escaped; two paths as long as can be have room."""
STANDARD_ERROR = 2
SHORT_CHARACTERS_MAX = 100
SHORT_TEXTS_MAX = 2048
"""Of values so short, so many are remembered as they are written."""
PLAIN = re.compile(r"[^\s\"'=\\]+", re.ASCII)
"""What stands in text as it is."""
GONE = "gone"
"""Why a transfer has failed: its connection was reset, or ended too soon."""
REASONS = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "quota",
    errno.EFBIG: "too_large",
    errno.EPIPE: GONE,
    errno.ECONNRESET: GONE,
    errno.ECONNABORTED: GONE,
    errno.ENOTCONN: GONE,
    errno.ETIMEDOUT: GONE,
    errno.EHOSTUNREACH: GONE,
    errno.ENETUNREACH: GONE,
    errno.ENETDOWN: GONE,
}
"""One word for what happens every day; other errors are logged in their own words."""


class Transfer(NamedTuple):
    """A transfer that has ended, well or not."""

    path: str
    address: str
    bytes: int
    seconds: float
    user: str
    incoming: bool = False
    """An upload."""
    complete: bool = True
    anonymous: bool = False
    password: str = ""
    """Of an anonymous user: what the client gave as an address of electronic mail."""
    binary: bool = True
    deleted: bool = False
    service: str = "ftp"
    reason: str = ""
    """Why it is not complete."""


class Log:
    """Where events and transfers go.  All methods may be called from any thread; none raises.

    Args:
        form: ``text`` or ``json``.
        file: None: standard error.
        xferlog: the file of transfers; None: they are events only.
        wall_s: seconds since 1970.
        now_s: seconds that never go back.

    Raises:
        OSError: a file cannot be opened.
    """

    def __init__(
        self,
        form: str = "text",
        file: str | None = None,
        xferlog: str | None = None,
        *,
        wall_s: Callable[[], float] = time.time,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lost = 0
        self._lost_untold = 0
        self._is_json = form == "json"
        self._wall_s = wall_s
        self._second = (-1, "")
        self._repeats = Repeats(now_s)
        self._repeats_lock = threading.Lock()
        self._files = [file, xferlog]
        self._fds = [STANDARD_ERROR, -1]
        try:
            for index, name in enumerate(self._files):
                if name is not None:
                    self._fds[index] = os.open(name, APPEND, LOG_MODE)
        except OSError:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Log {self._files[0] or 'standard error'} lost={self.lost}>"

    def event(self, name: str, **fields: object) -> None:
        """One line: time, event, fields; those that are None are left out."""
        wall_s = self._wall_s()
        if self._lost_untold and name != "log_lost":
            untold, self._lost_untold = self._lost_untold, 0
            self.event("log_lost", lines=untold)
        try:
            line = self._json_line if self._is_json else self._text_line
            self._write(0, line(wall_s, name, fields))
        except Exception as error:  # a value whose str() fails: still no reason to fall
            self._write(0, self._text_line(wall_s, "log_error", {"of": name, "error": repr(error)}))

    def repeated(self, name: str, *, address: str, at_once: int = 1, **fields: object) -> None:
        """An event that a client can cause again and again: see `headrace.serve.repeats`.

        *at_once* lines of an address, and of a ``status`` if there is one; then they are gathered.
        """
        with self._repeats_lock:
            told = self._repeats.note(name, {"address": address, **fields}, at_once)
        if told is not None:
            self._tell(told)

    def tell_repeated(self, *, everything: bool = False) -> None:
        """What was gathered and is due by now, or all of it; to be called about once a second."""
        with self._repeats_lock:
            due = list(self._repeats.due(everything=everything))
        for told in due:
            self._tell(told)

    def _tell(self, told: Told) -> None:
        count = told.events if told.events > 1 else None
        self.event(told.name, **told.fields, count=count)

    def transfer(self, transfer: Transfer) -> None:
        """A transfer has ended: an event, and a line of the log of transfers."""
        rate = transfer.bytes / transfer.seconds if transfer.seconds > 0 else 0.0
        if self._is_json or self._lost_untold:
            self.event("transfer", **_transfer_fields(transfer, rate))
        else:
            self._write(0, f"{self._stamp(self._wall_s())} {_transfer_text(transfer, rate)}\n")
        if self._fds[1] >= 0:
            self._write(1, xferlog_line(transfer, self._wall_s()))

    def reopen(self) -> None:
        """The files by their names again: somebody has moved the old ones away.

        A file that cannot be opened now is an event in the one that still is.
        """
        for index, name in enumerate(self._files):
            if name is None:
                continue
            try:
                fd = os.open(name, APPEND, LOG_MODE)
            except OSError as error:
                self.event("log_not_reopened", file=name, error=error.strerror)
                continue
            # In place of the old one, at once: a thread that is writing has a file all the time.
            os.dup2(fd, self._fds[index], inheritable=False)
            os.close(fd)

    def close(self) -> None:
        """The files; later events are lost."""
        self.tell_repeated(everything=True)
        for index, name in enumerate(self._files):
            fd, self._fds[index] = self._fds[index], -1
            if name is not None and fd not in (-1, STANDARD_ERROR):
                os.close(fd)

    def _text_line(self, wall_s: float, name: str, fields: dict[str, object]) -> str:
        parts = [self._stamp(wall_s), name]
        parts += [
            f"{key}={_text_value(value)}" for key, value in fields.items() if value is not None
        ]
        return " ".join(parts) + "\n"

    def _json_line(self, wall_s: float, name: str, fields: dict[str, object]) -> str:
        line: dict[str, object] = {"time": self._stamp(wall_s), "event": name}
        for key, value in fields.items():
            if value is not None:
                line[key] = _json_value(value)
        return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"

    def _stamp(self, wall_s: float) -> str:
        """RFC 3339 section 5.6, in UTC; the part that stays for a second is made once in it."""
        second = int(wall_s)
        known = self._second
        if known[0] != second:
            known = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
            self._second = known
        return f"{known[1]}.{int((wall_s - second) * 1000):03d}Z"

    def _write(self, index: int, line: str) -> None:
        # Surrogates have been escaped; were one left, the line must be written all the same.
        data = line.encode("utf-8", "backslashreplace")
        fd = self._fds[index]
        try:
            written = os.write(fd, data) if fd >= 0 else 0
        except OSError as error:
            self._note_lost(error.strerror)
            return
        if written < len(data):
            self._note_lost("no room for a whole line")

    def _note_lost(self, why: str | None) -> None:
        self.lost += 1
        self._lost_untold += 1
        if self.lost == 1 and self._files[0] is not None:
            with contextlib.suppress(OSError):  # else nobody is left to be told
                print(f"headrace serve: the log cannot be written: {why}", file=sys.stderr)


def _transfer_fields(transfer: Transfer, rate: float) -> dict[str, object]:
    return {
        "direction": "in" if transfer.incoming else "out",
        "path": transfer.path,
        "bytes": transfer.bytes,
        "seconds": round(transfer.seconds, 3),
        "bytes_per_s": round(rate),
        "complete": transfer.complete,
        "reason": transfer.reason or None,
        "user": transfer.user,
        "address": transfer.address,
        "service": transfer.service,
    }


def _transfer_text(transfer: Transfer, rate: float) -> str:
    """The same as text, for a third of the time: HTTP writes a line for each file that it sends."""
    why = f" reason={_text_value(transfer.reason)}" if transfer.reason else ""
    return (
        f"transfer direction={'in' if transfer.incoming else 'out'}"
        f" path={_text_value(transfer.path)} bytes={transfer.bytes}"
        f" seconds={round(transfer.seconds, 3)} bytes_per_s={round(rate)}"
        f" complete={'true' if transfer.complete else 'false'}{why}"
        f" user={_text_value(transfer.user)} address={_text_value(transfer.address)}"
        f" service={_text_value(transfer.service)}"
    )


def reason_of(error: BaseException) -> str:
    """An error, as the log says why something has failed; never empty."""
    if isinstance(error, OSError):
        known = REASONS.get(error.errno or 0) or error.strerror
        if known:
            return known
    return str(error) or type(error).__name__


def escape(text: str) -> str:
    """Text without anything that is not printable; different texts stay different.

    ``\\xNN`` is a byte: a control character of ASCII, or one that is no UTF-8 (a surrogate escape).
    ``\\uNNNN`` and ``\\UNNNNNNNN`` are characters.  A backslash becomes two.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _text_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return _short_text(text) if len(text) <= SHORT_CHARACTERS_MAX else _text(text)


def _text(text: str) -> str:
    text = text[:VALUE_CHARACTERS_MAX]
    if PLAIN.fullmatch(text) and text.isprintable():
        return text
    escaped = escape(text).replace('"', '\\"')
    return f'"{escaped}"'


# The same users, addresses and names come again and again.
_short_text = functools.lru_cache(SHORT_TEXTS_MAX)(_text)


def _json_value(value: object) -> object:
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has no infinity
    return escape(str(value)[:VALUE_CHARACTERS_MAX])


def xferlog_line(transfer: Transfer, wall_s: float) -> str:
    """One line as xferlog(5) of wu-ftpd and its heirs has it, with its end.

    current-time transfer-time remote-host file-size filename transfer-type special-action-flag
    direction access-mode username service-name authentication-method authenticated-user-id
    completion-status.  Time is local, as there; words are separated by spaces, so that a space in
    a name is ``_``.
    """
    who = transfer.password if transfer.anonymous and transfer.password else transfer.user
    words = [
        time.strftime("%a %b %d %H:%M:%S %Y", time.localtime(wall_s)),
        str(max(round(transfer.seconds), 1)),
        _word(transfer.address),
        str(transfer.bytes),
        _word(transfer.path),
        "b" if transfer.binary else "a",
        "_",  # neither compressed nor an archive
        "d" if transfer.deleted else "i" if transfer.incoming else "o",
        "a" if transfer.anonymous else "r",
        _word(who),
        _word(transfer.service),
        "0",  # no RFC 931 authentication
        "*",
        "c" if transfer.complete else "i",
    ]
    return " ".join(words) + "\n"


def _word(text: str) -> str:
    return escape(text[:VALUE_CHARACTERS_MAX]).replace(" ", "_") or "_"
