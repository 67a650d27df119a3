"""Which model the loops of a program run on, told to whoever has started the program.

`headrace compare` puts a model's name beside the figures of a program that it does not know.  The
environment only proposes a model: the program may ask for another loop by name, have no loop at
all, or be a `headrace run` of its own.  So the loop itself says that it runs, in a file that
$HEADRACE_WITNESS names.  *Runs*: `headrace run` makes a loop to see whether it can, and a program
may prepare something on one loop and then serve on another.

A line is "PID LOOP begins|ends MODEL".  One write(2) with O_APPEND is not torn apart by another
process's.  The file is opened for each line, since a descriptor kept open would be the program's.
"""

import os
import stat

__all__ = ["BEGINS", "ENDS", "VARIABLE", "note_begin", "note_end"]

VARIABLE = "HEADRACE_WITNESS"
BEGINS = "begins"
ENDS = "ends"
# A program that makes a loop for each request would fill the disk.
RUNS_MAX = 10_000

_path = os.environ.get(VARIABLE)
_runs = 0


def note_begin(loop: object, model: str) -> bool:
    """Say that this loop runs; True if that was asked for, and then `note_end` must follow."""
    global _runs
    if _path is None or _runs >= RUNS_MAX:
        return False
    _runs += 1
    _write(_path, f"{os.getpid()} {id(loop)} {BEGINS} {model}\n")
    return True


def note_end(loop: object, model: str) -> None:
    """Say that it runs no longer."""
    if _path is not None:
        _write(_path, f"{os.getpid()} {id(loop)} {ENDS} {model}\n")


def _write(path: str, line: str) -> None:
    try:
        # O_NONBLOCK: a FIFO that nobody reads would hold the loop up in open(2), and a full one
        # in write(2).
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return  # whoever asked has gone; that is no reason to disturb the program
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.write(fd, line.encode())
    except OSError:
        return
    finally:
        os.close(fd)
