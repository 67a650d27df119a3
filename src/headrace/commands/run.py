"""``headrace run``: an unchanged asyncio program on headrace.

The model is checked first, so that a mistake is one line and exit code 2, and then this process
*becomes* ``python script.py``: same process id, same terminal, same everything.
"""

import argparse
import os
import shlex
import sys

import headrace
from headrace.activate import environment

__all__ = ["main"]

USAGE = "headrace run [--model MODEL] (script.py | -m module | -c code | -) [argument ...]"
EPILOG = """\
Options of the interpreter go to python, and pass on to the program:
  python -u -m headrace run script.py
  PYTHONUNBUFFERED=1 headrace run script.py"""
# Of python itself, before the program: without a value, and with one.  Not -h: that is ours too.
INTERPRETER_OPTIONS = frozenset("bBdiOPqsuvx")
INTERPRETER_OPTIONS_WITH_VALUE = frozenset("WX")
VALUES = {"-m": "the name of a module", "-c": "a program"}


def main(words: list[str]) -> int:
    own, program = split(words)
    mistake = interpreter_option(words) or value_missing(program)
    if mistake:
        print(f"headrace run: {mistake}", file=sys.stderr)
        return 2
    parser = argparse.ArgumentParser(
        prog="headrace run",
        usage=USAGE,
        description="Run an asyncio program, unchanged, on headrace's event loop.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed by who started us
            stream.flush()
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


def interpreter_option(words: list[str]) -> str | None:
    """What to say of an option that is python's, and where to put it; None if there is none."""
    own, _ = split(words)
    for at, word in enumerate(own):
        if word.startswith("--") or own[at - 1 : at] == ["--model"]:
            continue
        if word[1] in INTERPRETER_OPTIONS_WITH_VALUE:
            end = at + 1 if word[2:] else at + 2
        elif set(word[1:]) <= INTERPRETER_OPTIONS:
            end = at + 1
        else:
            continue
        rest = [*own[:at], *words[end:]]
        command = shlex.join(["python", *words[at:end], "-m", "headrace", "run", *rest])
        return f"{word} is an option of the interpreter: {command}"
    return None


def value_missing(program: list[str]) -> str | None:
    """What to say of ``-m`` or ``-c`` with nothing behind it; python would print its own usage."""
    if len(program) == 1 and program[0] in VALUES:
        return f"{program[0]} needs {VALUES[program[0]]}; see headrace run --help"
    return None


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
