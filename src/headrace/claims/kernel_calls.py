"""System calls that the kernel has counted: what a program believes to have made proves nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.claims.sources import NotDecidableError
from headrace.lab.syscalls import NotCountableError, SystemCallCounter, read_trace_point


class KernelCalls:
    """Counts what this process calls, all its threads, step by step."""

    def __init__(self, counter: SystemCallCounter) -> None:
        self.counter = counter
        before = counter.read()
        self.own = counter.read() - before  # what looking takes

    def of(self, step: Callable[[], object]) -> int:
        """How many system calls the step has made."""
        before = self.counter.read()
        step()
        return self.counter.read() - before - self.own


@contextmanager
def kernel_calls() -> Iterator[KernelCalls]:
    """Counts from here to the end of the block; system calls are dearer meanwhile.

    Raises:
        NotDecidableError: it is not permitted here.
    """
    try:
        counter = SystemCallCounter(read_trace_point(), [os.getpid()])
    except NotCountableError as error:
        raise NotDecidableError(f"system calls cannot be counted here: {error}") from error
    try:
        yield KernelCalls(counter)
    finally:
        counter.close()


def calls_of(step: Callable[[], object], tries: int = 3) -> int:
    """The least of some tries: the interpreter may ask for memory in one of them."""
    with kernel_calls() as kernel:
        return min(kernel.of(step) for _ in range(tries))
