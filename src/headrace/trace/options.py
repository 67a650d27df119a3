"""The command line of ``headrace trace``: every bad value is one clear line and status 2."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from headrace.lab.options import BadArgumentsError, Parser, refuse_one_place, whole, writable
from headrace.models.registry import names

SIZE_MAX = 16 * 2**20
DELAY_MS_MAX = 1000

DESCRIPTION = """\
Record one request on an I/O model of headrace, and show who waits for its data (phase 1) and who
copies them to the user (phase 2): from the model's own timestamps and, where it is there and
permitted, from strace's."""
EPILOG = """\
examples:
  headrace trace epoll
  headrace trace uring --svg uring.svg
  headrace trace select --size 262144 --delay 20 --json -"""


@dataclass(frozen=True)
class Options:
    """The parsed command line."""

    model: str
    size: int
    delay: int
    strace: bool
    json: str | None
    """The file to write, or ``-`` for standard output; the same for ``svg``."""
    svg: str | None


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="headrace trace",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("model", nargs="?", metavar="MODEL", help="one of those `headrace models` lists")
    add("--size", type=whole(1, SIZE_MAX), default=32768, metavar="BYTES",
        help="bytes of request and reply (default 32768: one piece on every model)")  # fmt: skip
    add("--delay", type=whole(0, DELAY_MS_MAX), default=5, metavar="MS",
        help="milliseconds that the client waits before it sends (default 5)")  # fmt: skip
    add("--no-strace", dest="strace", action="store_false",
        help="the model's own timestamps alone")  # fmt: skip
    add("--svg", type=writable, metavar="FILE",
        help="write the timeline as a drawing to FILE; - is standard output")  # fmt: skip
    add("--json", type=writable, metavar="FILE",
        help="write all that was recorded to FILE; - is standard output")  # fmt: skip
    return parser


def parse(words: list[str]) -> Options:
    """The options.

    Raises:
        BadArgumentsError: with one line that says what is wrong and what is allowed.
    """
    found = build_parser().parse_args(words)
    if found.model is None:
        raise BadArgumentsError(f"which model? known are {', '.join(names())}")
    refuse_one_place("json", found.json, "svg", found.svg)
    return Options(**vars(found))
