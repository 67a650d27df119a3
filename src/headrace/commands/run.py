"""``headrace run``: an unchanged asyncio program on headrace.

The model is checked first, so that a mistake is one line and exit code 2, and then this process
*becomes* ``python script.py``: same process id, same terminal, same everything.
"""

import argparse
import os
import sys

import headrace
from headrace.activate import environment

__all__ = ["main"]

USAGE = "headrace run [--model MODEL] (script.py | -m module | -c code | -) [argument ...]"


def main(words: list[str]) -> int:
    own, program = split(words)
    parser = argparse.ArgumentParser(
        prog="headrace run",
        usage=USAGE,
        description="Run an asyncio program, unchanged, on headrace's event loop.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model",
        help="the I/O model, one of those `headrace models` lists; default: $HEADRACE_MODEL,"
        " else the best that works here",
    )
    model = parser.parse_args(own).model
    if not program:
        parser.error("what should run? a script, or -m and a module")
    if sys.flags.ignore_environment or sys.flags.no_site:
        parser.error("python's -E, -I and -S turn off what makes headrace the default loop")
    if model is not None or os.environ.get("HEADRACE_MODEL"):
        headrace.new_event_loop(model).close()
    # execve() runs nothing of what Python does at its end, such as writing out its buffers.
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, *interpreter_flags(), *program]
    os.execve(sys.executable, command, environment(model))


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Our own options, and the program with its arguments, which are passed on untouched."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        word = words[at]
        if word == "--":
            return words[:at], words[at + 1 :]
        if word == "-" or word[1] in "mc":
            break
        at += 2 if word == "--model" else 1
    return words[:at], words[at:]


def interpreter_flags() -> list[str]:
    """What stood between ``python`` and headrace on the command line: -u, -X dev and the like."""
    before = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv[1:])]
    if not before:
        return []
    last = before.pop()
    if last == "headrace" and before and before[-1].endswith("m"):  # "-m headrace", "-um headrace"
        options = before.pop().removesuffix("m")
        return before if options == "-" else [*before, options]
    return before
