"""How a comparison is asked to end, and that it does so with everything it has started.

Three signals ask for it, and the death of the parent: a comparison whose shell, test or script was
killed would go on with a core at 100 % and services that nobody knows of.  The kernel reports that
death by a signal, but reports the end of the *thread* that started us as well; so the signal is one
of its own, and the parent's number is looked at before it is believed.

``nohup`` means "go on without me": where SIGHUP is ignored it stays so, and no parent is followed.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PR_SET_PDEATHSIG = 1
PARENT_DIED = signal.SIGRTMIN
STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, PARENT_DIED)


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP arrived, or the parent died: end everything, show what there is."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopping_signals() -> Iterator[None]:
    """What asks us to end becomes one exception, so that nothing is left behind."""
    parent = os.getppid()
    is_detached = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def stop(number: int, frame: FrameType | None) -> None:
        if number != PARENT_DIED:
            raise Stopped(number)
        if os.getppid() != parent:
            raise Stopped(signal.SIGHUP)

    heard = STOPPING_SIGNALS[:2] if is_detached else STOPPING_SIGNALS
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        if not is_detached:
            signal_at_parents_death(PARENT_DIED)
            stop(PARENT_DIED, None)  # it may have died meanwhile, without the signal
        yield
    finally:
        signal_at_parents_death(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def signal_at_parents_death(number: int) -> None:
    """Asks the kernel for it; 0 for no signal."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def die_with_parent() -> None:
    """Runs in a child before its program: the kernel ends it with us, whatever ends us."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING_SIGNALS)
    signal_at_parents_death(signal.SIGKILL)
