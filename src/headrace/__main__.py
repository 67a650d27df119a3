"""The ``headrace`` command."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn, cast

import headrace
from headrace.kernel.standard_output import OutputError, standard_output

__all__ = ["main"]

COMMANDS = {
    "run": "run an asyncio program, unchanged: run [--model MODEL] script.py [argument ...]",
    "models": "list the I/O models, and whether each works on this machine",
    "compare": "measure the same service on every model; needs the lab extra",
    "claims": "measure what is said about I/O models; needs the lab extra",
    "trace": "record one request: who waits, and who copies; needs the lab extra",
    "serve": "serve a folder by FTP, FTPS and HTTP to many clients; needs the serve extra",
    "passwd": "write the users of `headrace serve` and their passwords into a file",
}


def main(words: list[str] | None = None) -> int:
    """Run one subcommand and answer its exit code; 2 means that the command line was wrong.

    1 if its output cannot be written.

    If nobody reads its output any more, it ends in silence, of SIGPIPE, as other Unix tools do; and
    of SIGINT, where the subcommand has not begun to handle that itself.
    """
    try:
        try:
            return run_command(sys.argv[1:] if words is None else words)
        finally:
            # Here, where a reader that has gone is still our affair, and not the interpreter's.
            if sys.stdout is not None:  # closed by who started us
                sys.stdout.flush()
    except BrokenPipeError:
        end_by(signal.SIGPIPE)
    except KeyboardInterrupt:
        end_by(signal.SIGINT)
    except OutputError as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 1


def end_by(number: signal.Signals) -> NoReturn:
    """What the kernel does to a program that leaves the signal as it is, as Python does not."""
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # never reached; the type checker cannot know


def run_command(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        with standard_output():
            print(f"headrace {version()}")
        return 0
    # Only the first word is ours: every subcommand reads its own.
    command = parser().parse_args(words[:1]).command
    entry = import_module(f"headrace.commands.{command}").main
    try:
        return cast(Callable[[list[str]], int], entry)(words[1:])
    except (headrace.UnknownModelError, headrace.ModelUnavailableError) as error:
        print(f"headrace: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    made = argparse.ArgumentParser(
        prog="headrace",
        usage="headrace [--help] [--version] COMMAND ...",
        description="Every Unix I/O model behind one asyncio event loop.",
        epilog="\n".join(
            ["commands:", *(f"  {name.ljust(width)}  {what}" for name, what in COMMANDS.items())]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--version", action="store_true", help="print the version")
    made.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    return made


def version() -> str:
    from importlib import metadata  # slow to import, and rarely needed

    return metadata.version("headrace")


if __name__ == "__main__":
    sys.exit(main())
