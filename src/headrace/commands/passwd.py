"""``headrace passwd``: the users of ``headrace serve``, their passwords and rights, in a file."""

from __future__ import annotations

import argparse
import getpass
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from headrace.serve.passwords import Hash
    from headrace.serve.users import User

__all__ = ["main"]

PROGRAM = "headrace passwd"
EXIT_FAILED = 1
EXIT_BAD_ARGUMENTS = 2
DESCRIPTION = """\
Add a user to FILE, or change one: the file that `headrace serve --users FILE` reads.  What is not
named stays as it is; a new user may read the whole served folder.  The password is asked for."""
PASSWORD_LINE_BYTES_MAX = 4096


class _Mistake(Exception):
    """The command line is wrong; the message says how, in one line."""


class _Failure(Exception):
    """It cannot be done; the message says why, in one line."""


class _Parser(argparse.ArgumentParser):
    """argparse without the usage page: the error is the line that matters."""

    def error(self, message: str) -> NoReturn:
        raise _Mistake(message)


def main(words: list[str]) -> int:
    """Change one line of the file; answers the exit code.

    0: done. 1: no password could be had, there is no such user, or the file is wrong or cannot be
    written. 2: the command line is wrong.  The file is as it was then.
    """
    from headrace.serve.users import BadUsers

    try:
        options = parser().parse_args(words)
        check(options)
        change(options)
    except _Mistake as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENTS
    except (_Failure, BadUsers) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def parser() -> argparse.ArgumentParser:
    from headrace.serve.users import RIGHT_LETTERS

    letters = ", ".join(f"{letter} {right.name}" for letter, right in RIGHT_LETTERS.items())
    made = _Parser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=f"rights: ro, rw, - (none), or letters: {letters.lower()}.",
        allow_abbrev=False,
    )
    made.add_argument("file", metavar="FILE", help="made where it does not exist")
    made.add_argument("name", metavar="NAME", help="whose password it is")
    made.add_argument("--home", metavar="PATH", help="the user's root folder, below the served one")
    made.add_argument("--rights", metavar="RIGHTS", help="what the user may do; see below")
    made.add_argument("--rate", metavar="BYTES", help="a second, of each transfer; off: no limit")
    made.add_argument("--quota", metavar="BYTES", help="that the home may hold; off: no limit")
    how = made.add_mutually_exclusive_group()
    how.add_argument("--stdin", action="store_true", help="the password is standard input's line")
    how.add_argument("--keep", action="store_true", help="the password stays as it is")
    how.add_argument("--lock", action="store_true", help="the user stays, and cannot log in")
    how.add_argument("--delete", action="store_true", help="the user goes")
    return made


def check(options: argparse.Namespace) -> None:
    """Raises _Mistake where a value cannot be, before a password is asked for."""
    from headrace.serve.users import BadUsers, check_home, check_name, parse_rights

    try:
        check_name(options.name)
        if options.home is not None:
            options.home = check_home(options.home)
        if options.rights is not None:
            options.rights = parse_rights(options.rights)
        for name in ("rate", "quota"):
            setattr(options, name, amount(name, getattr(options, name)))
    except BadUsers as error:
        raise _Mistake(str(error)) from None
    if options.delete and any(
        getattr(options, name) is not None for name in ("home", "rights", "rate", "quota")
    ):
        raise _Mistake("--delete goes with no other option")


def amount(name: str, text: str | None) -> int | None:
    """0 for ``off``: no limit, said so; None: not said."""
    from headrace.serve.sizes import parse_bytes

    if text is None or text == "off":
        return None if text is None else 0
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise _Mistake(f"--{name}: {error}") from None


def change(options: argparse.Namespace) -> None:
    from headrace.serve.users import UserLine
    from headrace.serve.users_file import UsersFile

    with UsersFile(options.file) as file:
        before = file.lines.get(options.name)
        if before is None and (options.delete or options.keep or options.lock):
            raise _Failure(f"{options.file}: there is no user {options.name!r}")
        if options.delete:
            file.write(options.name, None)
            return
        password = new_password(options, before.password if before else None)
        user = changed(options, before.user if before else None)
        file.write(options.name, UserLine(user, password))


def new_password(options: argparse.Namespace, before: Hash | None) -> Hash | None:
    """Raises _Failure where there is none, or none that can be."""
    from headrace.serve.passwords import BadHash, hash_password

    if options.lock or options.keep:
        return None if options.lock else before
    text = read_password() if options.stdin else ask_password(options.name)
    try:
        return hash_password(text)
    except BadHash as error:
        raise _Failure(str(error)) from None


def read_password() -> str:
    data = sys.stdin.buffer.readline(PASSWORD_LINE_BYTES_MAX)
    return data.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def ask_password(name: str) -> str:
    """At the terminal, twice, without showing it.  Raises _Failure."""
    with warnings.catch_warnings():
        # getpass would fall back to a standard input that shows what is typed.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            first = getpass.getpass(f"New password of {name}: ")
            again = getpass.getpass("The same again: ")
        except (getpass.GetPassWarning, EOFError, OSError):
            raise _Failure("no terminal to ask for the password; --stdin reads it") from None
    if first != again:
        raise _Failure("the two were not the same; nothing is changed")
    return first


def changed(options: argparse.Namespace, before: User | None) -> User:
    from headrace.serve.users import Rights, User

    user = before or User(options.name, "/", Rights.READ_ONLY)
    rate, quota = user.rate_bytes_per_s_max, user.quota_bytes
    return User(
        user.name,
        user.home if options.home is None else options.home,
        user.rights if options.rights is None else options.rights,
        rate if options.rate is None else options.rate or None,
        quota if options.quota is None else options.quota or None,
    )
