"""``headrace serve``: the command line, handed over to the master."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
import textwrap
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from headrace.serve.settings import Option, Settings

__all__ = ["main"]

PROGRAM = "headrace serve"
EXIT_BAD_ARGUMENTS = 2
DESCRIPTION = """\
Serve a folder by FTP, FTPS and HTTP to ten thousand clients at once.  Without options: FTP at
127.0.0.1:2121 and HTTP at 127.0.0.1:8080, read-only, without names and passwords."""
EXAMPLES = """\
examples:
  headrace serve .
  headrace serve /srv/mirror --ftp 0.0.0.0:21 --http 0.0.0.0:80 --workers auto --run-as nobody
  headrace serve /srv/drop --anonymous off --users users --tls-cert cert.pem --tls-required
  headrace serve --config /etc/headrace.toml
SIGHUP reads users, certificate and limits again; SIGTERM lets running transfers end."""


class _Mistake(Exception):
    """The command line is wrong; the message says how, in one line."""


class _Parser(argparse.ArgumentParser):
    """argparse without the usage page: the error is the line that matters."""

    def error(self, message: str) -> NoReturn:
        raise _Mistake(f"{message}{self.suggestion(message)}")

    def suggestion(self, message: str) -> str:
        """For an option that there is not: those like it."""
        _, found, words = message.partition("unrecognized arguments: ")
        if not found or not words.startswith("--"):
            return ""
        word = words.split()[0].partition("=")[0]
        known = [name for name in self._option_string_actions if name.startswith("--")]
        near = difflib.get_close_matches(word, known, 3, 0.5)
        return f"; like it: {', '.join(near)}" if near else f"; see {PROGRAM} --help"


def main(words: list[str]) -> int:
    """Run the server until a signal ends it; answers the exit code.

    0: it was told to end, and has. 1: it could not begin, or not go on. 2: the command line, the
    file of settings or a file that they name is wrong, or the serve extra is missing; one line on
    standard error says what.
    """
    from headrace.serve.settings import BadSettings, Settings

    try:
        settings = Settings.make(vars(parser().parse_args(words)))
        require_packages(settings)
        from headrace.serve import master

        return master.serve(settings)
    except (_Mistake, BadSettings) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENTS


def parser() -> argparse.ArgumentParser:
    from headrace.serve.settings import OPTIONS

    made = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [option ...] DIR",
        description=DESCRIPTION,
        epilog=f"{EXAMPLES}\n\n{limits_text()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        # What is not said must stay unknown: the file of settings may say it.
        argument_default=argparse.SUPPRESS,
    )
    made.add_argument("directory", nargs="?", metavar="DIR", help="the folder to serve")
    made.add_argument("--config", metavar="FILE.toml", help="options as keys; these here win")
    for option in OPTIONS:
        if option.parse is None:
            made.add_argument(
                f"--{option.name}", action="store_const", const=True, help=option.help
            )
        else:
            made.add_argument(
                f"--{option.name}", type=argument(option), metavar=option.metavar, help=option.help
            )
    made.add_argument(
        "--limit", action="append", metavar="NAME=VALUE", help="one of the limits below; repeatable"
    )
    return made


def argument(option: Option) -> Callable[[str], object]:
    """The option's parser, with its words for a mistake instead of argparse's."""
    assert option.parse is not None
    parse = option.parse

    def checked(text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return checked


def limits_text() -> str:
    from headrace.serve.limits import Limits

    shown = []
    for field in fields(Limits):
        default = "off" if field.default is None else f"{field.default:g}"
        if isinstance(field.default, int):
            default = str(field.default)
        shown.append(f"{field.name}={default}")
    body = textwrap.fill("  ".join(shown), 98, initial_indent="  ", subsequent_indent="  ")
    return f"limits and their defaults:\n{body}"


def require_packages(settings: Settings) -> None:
    """Found missing now, and not by the first client.

    Raises:
        _Mistake: HTTP is to be served, and its parser is not installed.
    """
    if settings.http is None and settings.https is None and settings.metrics is None:
        return
    try:
        importlib.import_module("httptools")
    except ModuleNotFoundError as error:
        if error.name != "httptools":
            raise
        raise _Mistake(
            "HTTP needs the serve extra: pip install 'headrace[serve]', or say --http off"
        ) from None
