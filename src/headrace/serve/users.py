"""Who may do what: a file of users, their password hashes, homes and rights.

The file has a line for each user, ``name:hash:home:rights:rate:quota``; what is empty at the end
may be left out, and so may the colons.  Lines that begin with ``#`` are comments.

* name: up to 64 characters, none of them a colon, a slash, a space or a control character.
* hash: as `headrace passwd` makes it; ``!`` for a user who cannot log in.
* home: the user's root folder, below the served one; default ``/``.
* rights: ``ro``, ``rw``, ``-`` (none), or letters: see `RIGHT_LETTERS`; default ``ro``.
* rate: bytes a second, for each transfer; ``K``, ``M`` and ``G`` stand for powers of 1,024.
* quota: bytes that the home may hold, the same.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from headrace.serve import paths
from headrace.serve.passwords import COST, BadHash, Cost, Hash, impossible_hash, parse_hash
from headrace.serve.sizes import parse_bytes

__all__ = ["ANONYMOUS_NAMES", "RIGHT_LETTERS", "BadUsers", "Rights", "User", "UserLine", "Users"]

ANONYMOUS_NAMES = ("anonymous", "ftp")
"""RFC 1635 section 2.1: the name is anonymous; ftp is what people type instead."""
NAME_CHARACTERS_MAX = 64
USERS_MAX = 100_000
FILE_BYTES_MAX = 64 * 2**20
REMEMBERED_MAX = 4096
"""How many names with their passwords a process remembers as right."""
LOCKED = "!"


class BadUsers(ValueError):
    """The file of users is wrong: file, line and what is allowed, in one line."""


class Rights(enum.Flag):
    """What a user may do, below the user's home."""

    LIST = enum.auto()
    """See names: LIST, NLST, MLSD, MLST, STAT of a path; a folder's page."""
    READ = enum.auto()
    """Read files, and change into folders."""
    CREATE = enum.auto()
    """Upload files that are not there yet."""
    REPLACE = enum.auto()
    """Upload over files that are there, go on with them, and rename onto them."""
    DELETE = enum.auto()
    """Remove files."""
    RENAME = enum.auto()
    FOLDERS = enum.auto()
    """Make and remove folders."""
    CHANGE = enum.auto()
    """Change modes and times."""

    READ_ONLY = LIST | READ
    ALL = LIST | READ | CREATE | REPLACE | DELETE | RENAME | FOLDERS | CHANGE


RIGHT_LETTERS: dict[str, Rights] = {
    "l": Rights.LIST,
    "r": Rights.READ,
    "c": Rights.CREATE,
    "p": Rights.REPLACE,
    "d": Rights.DELETE,
    "n": Rights.RENAME,
    "f": Rights.FOLDERS,
    "m": Rights.CHANGE,
}
"""The letters in a file of users; none of the words ``ro`` and ``rw`` can be spelt with them."""
RIGHT_WORDS = {"": Rights.READ_ONLY, "ro": Rights.READ_ONLY, "rw": Rights.ALL, "-": Rights(0)}
ANONYMOUS_RIGHTS = {"ro": Rights.READ_ONLY, "rw": Rights.ALL}


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who is logged in, or could be."""

    name: str
    home: str
    rights: Rights
    rate_bytes_per_s_max: int | None = None
    """For each transfer; None: what the limits say, which hold besides."""
    quota_bytes: int | None = None
    """What the home may hold; None: what the disk does."""

    @property
    def is_anonymous(self) -> bool:
        return self.name in ANONYMOUS_NAMES

    def served_path(self, path: str) -> str:
        """A path of this user's, from the served folder on: what an administrator knows it by."""
        return path if self.home == "/" else self.home + path.rstrip("/")


@dataclass(frozen=True, slots=True)
class UserLine:
    """A line of the file; ``password`` is None for a user who cannot log in."""

    user: User
    password: Hash | None

    def __str__(self) -> str:
        user = self.user
        parts = [
            user.name,
            LOCKED if self.password is None else str(self.password),
            user.home,
            format_rights(user.rights),
            "" if user.rate_bytes_per_s_max is None else str(user.rate_bytes_per_s_max),
            "" if user.quota_bytes is None else str(user.quota_bytes),
        ]
        return ":".join(parts).rstrip(":")


class Users:
    """The users of one reading of the file, and the anonymous one.

    It never changes: a reload makes a new one.  All methods may be called from any thread.

    Args:
        lines: the users.
        anonymous: ``ro``, ``rw`` or ``off``.
    """

    def __init__(self, lines: Iterable[UserLine] = (), anonymous: str = "ro") -> None:
        self._lines: Mapping[str, UserLine] = {line.user.name: line for line in lines}
        rights = ANONYMOUS_RIGHTS.get(anonymous)
        self._anonymous = None if rights is None else User(ANONYMOUS_NAMES[0], "/", rights)
        hashes = [line.password for line in self._lines.values() if line.password is not None]
        # As slow as the slowest of the file's, so that the time does not tell that nobody has the
        # name.
        slowest = max((known.cost for known in hashes), key=_work, default=COST)
        self._nobody = impossible_hash(slowest)
        self._remembered = _Remembered()

    def __repr__(self) -> str:
        return f"<Users {len(self)}, anonymous {self._anonymous}>"

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[User]:
        return (line.user for line in self._lines.values())

    @property
    def may_write(self) -> bool:
        """Whether anybody may change anything at all."""
        return bool(self.writers())

    def writers(self) -> list[User]:
        """Who may change something, anonymous among them."""
        everybody = [line.user for line in self._lines.values()]
        if self._anonymous is not None:
            everybody.append(self._anonymous)
        return [user for user in everybody if user.rights & ~Rights.READ_ONLY]

    def anonymous(self) -> User | None:
        """Who comes without a name; None: nobody may."""
        return self._anonymous

    def recall(self, name: str, password: str) -> User | None:
        """The user, if this process has verified this password since the file was read.  Fast.

        None says nothing: ask `verify` then.  For clients that log in again and again, as each
        request of HTTP does.
        """
        line = self._lines.get(name)
        return line.user if line and self._remembered.has(name, password) else None

    def verify(self, name: str, password: str) -> User | None:
        """The user, if name and password belong together; None: which of both was wrong stays ours.

        Slow, as scrypt is meant to be, for every answer but an anonymous one: call it in a thread.
        Names of `ANONYMOUS_NAMES` need no password.
        """
        if name in ANONYMOUS_NAMES and self._anonymous is not None:
            return self._anonymous
        line = self._lines.get(name)
        known = line.password if line is not None and line.password is not None else self._nobody
        if not known.matches(password) or line is None or line.password is None:
            return None
        self._remembered.add(name, password)
        return line.user

    @classmethod
    def load(cls, file: str | os.PathLike[str], anonymous: str = "ro") -> Users:
        """Read the file.

        Raises:
            BadUsers: it cannot be read, or a line is wrong.
        """
        return cls(read_lines(file).values(), anonymous)


def read_lines(file: str | os.PathLike[str]) -> dict[str, UserLine]:
    """The file's users by name.

    Raises:
        BadUsers: it cannot be read, or a line is wrong.
    """
    where = os.fspath(file)
    try:
        with open(where, "rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise BadUsers(f"{where}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadUsers(f"{where}: not UTF-8") from None
    if len(data) > FILE_BYTES_MAX:
        raise BadUsers(f"{where}: more than {FILE_BYTES_MAX // 2**20} MiB")
    found: dict[str, UserLine] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if is_comment(line):
            continue
        try:
            made = parse_line(line.rstrip("\r"))
            if made.user.name in found:
                raise BadUsers(f"a second line for {made.user.name!r}")
            if len(found) >= USERS_MAX:
                raise BadUsers(f"more than {USERS_MAX:,} users")
        except BadUsers as error:
            raise BadUsers(f"{where}:{number}: {error}") from None
        found[made.user.name] = made
    return found


def is_comment(line: str) -> bool:
    """A line that says nothing about a user."""
    return not line.strip() or line.lstrip().startswith("#")


def parse_line(line: str) -> UserLine:
    """One line of the file, without its end.

    Raises:
        BadUsers: what is wrong, without file and line.
    """
    parts = line.split(":")
    if not 2 <= len(parts) <= 6:
        raise BadUsers("not of the form name:hash:home:rights:rate:quota")
    padded = [*parts, *[""] * (6 - len(parts))]
    name, password, home, rights, rate, quota = (part.strip() for part in padded)
    try:
        known = None if password == LOCKED else parse_hash(password)
    except BadHash as error:
        raise BadUsers(f"hash: {error}") from None
    user = User(
        check_name(name), check_home(home or "/"), parse_rights(rights),
        _optional_bytes("rate", rate), _optional_bytes("quota", quota),
    )  # fmt: skip
    return UserLine(user, known)


def check_name(name: str) -> str:
    """Raises BadUsers where no user may be called so."""
    if name in ANONYMOUS_NAMES:
        raise BadUsers(f"{name!r} is the anonymous user, whom --anonymous admits or not")
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise BadUsers(f"a name has 1 to {NAME_CHARACTERS_MAX} characters")
    if not name.isprintable() or any(character in ":/# " for character in name):
        raise BadUsers(f"the name {name!r} has a character that none may have")
    return name


def check_home(home: str) -> str:
    """The home as a virtual path.  Raises BadUsers where it is none."""
    try:
        if not home.startswith("/") or ".." in home.split("/"):
            raise paths.BadPath("below the served folder it must begin with /, without ..")
        if ":" in home or home != home.strip() or not home.isprintable():
            raise paths.BadPath("it has a character that none may have in this file")
        return paths.resolve("/", home)
    except paths.BadPath as error:
        raise BadUsers(f"home {home!r}: {error}") from None


def parse_rights(text: str) -> Rights:
    """``ro``, ``rw``, ``-`` or letters.  Raises BadUsers."""
    if text in RIGHT_WORDS:
        return RIGHT_WORDS[text]
    found = Rights(0)
    for letter in text:
        if letter not in RIGHT_LETTERS:
            letters = ", ".join(
                f"{known} {_right_name(right)}" for known, right in RIGHT_LETTERS.items()
            )
            raise BadUsers(f"rights {text!r}: ro, rw, - or letters of {letters}")
        found |= RIGHT_LETTERS[letter]
    return found


def format_rights(rights: Rights) -> str:
    for word in ("ro", "rw", "-"):
        if RIGHT_WORDS[word] == rights:
            return word
    return "".join(letter for letter, right in RIGHT_LETTERS.items() if right in rights)


def _right_name(right: Rights) -> str:
    return (right.name or "").lower()


def _optional_bytes(what: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise BadUsers(f"{what}: {error}") from None


def _work(cost: Cost) -> int:
    return cost.n * cost.r * cost.p


class _Remembered:
    """Passwords that were right, as HMACs under a key that only this process has, and only now."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._marks: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, name: str, password: str) -> bool:
        with self._lock:
            mark = self._marks.get(name)
        return mark is not None and hmac.compare_digest(mark, self._mark(name, password))

    def add(self, name: str, password: str) -> None:
        mark = self._mark(name, password)
        with self._lock:
            self._marks[name] = mark
            self._marks.move_to_end(name)
            if len(self._marks) > REMEMBERED_MAX:
                self._marks.popitem(last=False)

    def _mark(self, name: str, password: str) -> bytes:
        text = f"{len(name)}:{name}{password}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, text, hashlib.sha256)
