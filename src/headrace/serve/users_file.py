"""Changing a file of users: one line of it, at once, and nothing else in it."""

from __future__ import annotations

import fcntl
import os
import secrets
from types import TracebackType
from typing import Self

from headrace.serve.users import BadUsers, UserLine, is_comment, read_lines

__all__ = ["UsersFile"]

NEW_MODE = 0o600
HEADER = "# name:hash:home:rights:rate:quota -- written by `headrace passwd`\n"


class UsersFile:
    """The file, locked against others who change it while it is entered.

    A file that does not exist is an empty one, and is made when it is written.

    Raises:
        BadUsers: it cannot be read, or is wrong; then it is better looked at than written.
    """

    def __init__(self, file: str) -> None:
        self._named = file
        self._path = os.path.realpath(file)  # a link stays a link
        self._folder = -1
        self._text: list[str] = []
        self.lines: dict[str, UserLine] = {}

    def __enter__(self) -> Self:
        try:
            # The folder's lock, because the file itself is replaced.
            self._folder = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._folder, fcntl.LOCK_EX)
            if os.path.exists(self._path):
                self.lines = read_lines(self._path)
                with open(self._path, encoding="utf-8", newline="") as opened:
                    self._text = opened.read().splitlines(keepends=True)
            else:
                self._text = [HEADER]
        except OSError as error:
            self._unlock()
            raise BadUsers(f"{self._named}: {error.strerror}") from None
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._unlock()

    def write(self, name: str, line: UserLine | None) -> None:
        """Replace the user's line, or add it at the end; None removes it.

        Raises:
            BadUsers: it cannot be written, and is as it was.
        """
        made = [] if line is None else [f"{line}\n"]
        kept: list[str] = []
        for text in self._text:
            if not is_comment(text) and text.partition(":")[0].strip() == name:
                kept += made
                made = []
            else:
                kept.append(text if text.endswith("\n") else f"{text}\n")
        try:
            self._replace("".join(kept + made))
        except OSError as error:
            raise BadUsers(f"{self._named}: {error.strerror}") from None

    def _replace(self, text: str) -> None:
        """Whole or not at all: a server may read it at any time."""
        temporary = f"{self._path}.{secrets.token_hex(4)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, NEW_MODE)
        try:
            with open(fd, "w", encoding="utf-8", newline="") as opened:
                opened.write(text)
                opened.flush()
                self._keep_owner(fd)
                os.fsync(fd)
            os.rename(temporary, self._path)
        except BaseException:
            os.unlink(temporary)
            raise
        os.fsync(self._folder)

    def _keep_owner(self, fd: int) -> None:
        """Whom the file belongs to, and who may read it, stays as it is."""
        try:
            before = os.stat(self._path)
        except FileNotFoundError:
            return
        made = os.fstat(fd)
        if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
            os.fchown(fd, before.st_uid, before.st_gid)
        os.fchmod(fd, before.st_mode & 0o777)

    def _unlock(self) -> None:
        folder, self._folder = self._folder, -1
        if folder >= 0:
            os.close(folder)
