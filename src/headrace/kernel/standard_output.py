"""Standard output that cannot take what it is given: a full disk, most of the time."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class OutputError(Exception):
    """Standard output could not be written; the message says why."""


@contextmanager
def standard_output() -> Iterator[None]:
    """What is printed in here has been written when it ends.

    A reader that has gone is no error of this kind: BrokenPipeError passes.

    Raises:
        OutputError: it could not be written; the rest is dropped.
    """
    try:
        yield
        if sys.stdout is not None:  # closed by who started us
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_the_rest()
        raise OutputError(f"standard output: {error.strerror}") from error


def drop_the_rest() -> None:
    """What is still buffered would be tried again when the interpreter ends, with a traceback."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
