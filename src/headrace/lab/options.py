"""The command line of ``headrace compare``: every bad value is one clear line and status 2."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from headrace.lab.service import MODES

BUSY_MAX = 100_000
IDLE_MAX = 1_000_000
SIZE_MAX = 16 * 2**20
SECONDS_MAX = 3600.0
REPEAT_MAX = 1000
STANDARD_OUTPUT = "-"
PACKAGES = ("hdrh", "rich")
NOTHING_MEASURED = "headrace compare: nothing was measured"
# Those of the upper-case service; with --http they would be ignored, so they are refused there.
SERVICE_DEFAULTS: dict[str, Any] = {"size": 1024, "mode": MODES[0]}

DESCRIPTION = """\
Load the same upper-case service under every I/O model of headrace, under stock asyncio and the
loops installed beside it, and show what a request costs on each. With --http, load your own
service instead: COMMAND is started once for each model."""
EPILOG = """\
examples:
  headrace compare
  headrace compare --busy 100 --idle 1000 --seconds 2 --json result.json --html result.html
  headrace compare --models uring,epoll,uvloop --mode streams
  headrace compare --raw --busy 20 --idle 20
  headrace compare --http http://127.0.0.1:8080/ -- python server.py
"""


class BadArgumentsError(Exception):
    """The command line is wrong; the message names the value and what is allowed."""


@dataclass(frozen=True)
class Options:
    """The parsed command line."""

    busy: int
    idle: int
    size: int
    seconds: float
    mode: str
    repeat: int
    models: tuple[str, ...] | None
    raw: bool
    floor: bool
    json: str | None
    """The file to write, or ``-`` for standard output; the same for ``html``."""
    html: str | None
    http: str | None
    command: tuple[str, ...]


class Parser(argparse.ArgumentParser):
    """argparse without the usage page: the error is the line that matters."""

    def error(self, message: str) -> NoReturn:
        raise BadArgumentsError(message)


def require_packages() -> None:
    """Found missing now, not after the measurement.

    Raises:
        BadArgumentsError: the lab's packages are not installed.
    """
    try:
        for name in PACKAGES:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        raise BadArgumentsError("needs the lab's packages: pip install 'headrace[lab]'") from error


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {low:,} to {high:,}"
            )
        return value

    return parse


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.05 <= value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from 0.05 to {SECONDS_MAX:g}"
        )
    return value


def names(text: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no model; example: uring,epoll,asyncio")
    return found


def writable(text: str) -> str:
    """A file that can be made: found out now, not after two minutes of measuring."""
    if text == STANDARD_OUTPUT:
        return text
    if not text:
        raise argparse.ArgumentTypeError("'' names no file; - is standard output")
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a directory, expected a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no directory {str(path.parent)!r}")
    return text


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="headrace compare",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--busy", type=whole(1, BUSY_MAX), default=100, metavar="N",
        help="connections that always have one request outstanding (default 100)")  # fmt: skip
    add("--idle", type=whole(0, IDLE_MAX), default=None, metavar="M",
        help="connections that are only there (default 500; 0 with --http)")  # fmt: skip
    add("--size", type=whole(1, SIZE_MAX), default=None, metavar="BYTES",
        help="bytes of a request and of its reply (default 1024)")  # fmt: skip
    add("--seconds", type=seconds, default=1.0, metavar="S",
        help="measured time of a row in each round (default 1)")  # fmt: skip
    add("--mode", choices=MODES, default=None,
        help="style of the service (default protocol)")  # fmt: skip
    add("--repeat", type=whole(1, REPEAT_MAX), default=3, metavar="R",
        help="rounds, interleaved over the rows; the median counts (default 3)")  # fmt: skip
    add("--models", type=names, metavar="A,B,C",
        help="only these rows, in this order: models, asyncio, uvloop, c-epoll, ...")  # fmt: skip
    add("--raw", action="store_true",
        help="add the raw programs: each I/O model by hand, in sixty lines of Python")  # fmt: skip
    add("--floor", action="store_true", help="add the same service in plain C")
    add("--json", type=writable, metavar="FILE",
        help="write everything measured to FILE; - is standard output")  # fmt: skip
    add("--html", type=writable, metavar="FILE",
        help="write one page with charts to FILE; - is standard output")  # fmt: skip
    add("--http", metavar="URL", help="load your own service: http://127.0.0.1:PORT/PATH")
    add("command", nargs="*", metavar="-- COMMAND", help="the command that serves URL")
    return parser


def parse(argv: list[str]) -> Options:
    """The options.

    Raises:
        BadArgumentsError: with one line that says what is wrong and what is allowed.
    """
    own, command = split_command(argv)
    found = build_parser().parse_args(own)
    refuse_contradictions(found, command)
    values = vars(found) | {"command": tuple(command)}
    if values["idle"] is None:
        values["idle"] = 0 if found.http else 500
    for name, default in SERVICE_DEFAULTS.items():
        if values[name] is None:
            values[name] = default
    return Options(**values)


def refuse_contradictions(found: argparse.Namespace, command: list[str]) -> None:
    """What each argument by itself cannot know."""
    if found.command:
        raise BadArgumentsError(f"unexpected argument {found.command[0]!r}; COMMAND goes after --")
    if found.http and not command:
        raise BadArgumentsError("--http needs the command that serves it: --http URL -- COMMAND...")
    if command and not found.http:
        raise BadArgumentsError(f"a command ({command[0]!r}) needs the URL it serves: --http URL")
    if found.http and found.raw:
        raise BadArgumentsError("--raw is the upper-case service by hand; it has no --http")
    if found.http and found.floor:
        raise BadArgumentsError("--floor is the upper-case service in C; it has no --http")
    for name in SERVICE_DEFAULTS:
        if found.http and getattr(found, name) is not None:
            raise BadArgumentsError(f"--{name} is of the upper-case service; it has no --http")
    refuse_one_place("json", found.json, "html", found.html)


def refuse_one_place(first: str, path: str | None, second: str, other: str | None) -> None:
    """Two reports, by the names of their flags, that would be written over each other."""
    if path is None or other is None:
        return
    if path == other == STANDARD_OUTPUT:
        raise BadArgumentsError(
            f"--{first} - and --{second} -: only one of them fits standard output"
        )
    if os.path.realpath(path) == os.path.realpath(other):
        raise BadArgumentsError(f"--{first} and --{second} are the same file: {other!r}")


def split_command(argv: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and after the first ``--``."""
    if "--" not in argv:
        return argv, []
    cut = argv.index("--")
    return argv[:cut], argv[cut + 1 :]
