"""The command line of ``headrace claims``: every bad value is one clear line and status 2."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from headrace.lab.options import BadArgumentsError, Parser, refuse_one_place, writable

DESCRIPTION = """\
Test on this machine what is said about Unix I/O models: each claim is a sentence, an experiment
with a number, and a verdict. One that the noise of the machine does not allow is "not decidable
here", never a guess."""
EPILOG = """\
examples:
  headrace claims --quick
  headrace claims --list
  headrace claims --only select-scans poll-scans epoll-flat --html claims.html"""


@dataclass(frozen=True)
class Options:
    """The parsed command line."""

    only: tuple[str, ...] | None
    list: bool
    quick: bool
    json: str | None
    """The file to write, or ``-`` for standard output; the same for ``html``."""
    html: str | None

    @property
    def scale(self) -> str:
        return "quick" if self.quick else "full"


def claim_names(text: str) -> list[str]:
    """One name, or several with commas between."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no claim; example: epoll-mmap")
    return found


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="headrace claims",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--only", nargs="+", type=claim_names, action="extend", metavar="NAME",
        help="only these claims, with all there is to say about them")  # fmt: skip
    add("--list", action="store_true", help="list the claims, and measure nothing")
    add("--quick", action="store_true", help="fewer rounds: less than three minutes in all")
    add("--json", type=writable, metavar="FILE",
        help="write everything measured to FILE; - is standard output")  # fmt: skip
    add("--html", type=writable, metavar="FILE",
        help="write one page with charts to FILE; - is standard output")  # fmt: skip
    return parser


def parse(words: list[str]) -> Options:
    """The options.

    Raises:
        BadArgumentsError: with one line that says what is wrong and what is allowed.
    """
    found = build_parser().parse_args(words)
    for name in ("json", "html", "quick"):
        if found.list and getattr(found, name):
            raise BadArgumentsError(f"--list measures nothing; it has no --{name}")
    refuse_one_place("json", found.json, "html", found.html)
    only = None if found.only is None else tuple(name for some in found.only for name in some)
    return Options(**(vars(found) | {"only": only}))
