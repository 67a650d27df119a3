"""Time-outs without timers: every few seconds each session is asked whether its time is over.

A timer for each session costs a heap entry, and one change of it for each command.  Instead a
worker has one: it comes several times in each round, and looks at a slice of the sessions each
time, so that ten thousand of them never hold up the loop at once.  A limit is exceeded by one round
at most.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

__all__ = ["Sweepable", "Sweeper"]

SLICES_PER_ROUND = 16
# A slice has at least so many, so that few sessions are looked at in one go.
SLICE_SESSIONS_MIN = 64
# How long a round takes: a fraction of the shortest limit, within these.
ROUND_S_MIN, ROUND_S_MAX = 0.05, 5.0
LIMIT_FRACTION = 0.25


class Sweepable(Protocol):
    """What has time-outs."""

    def sweep(self, now: float) -> object:
        """Look at the clock; *now* is time.monotonic()'s."""


def round_s(shortest_limit_s: float) -> float:
    """How often each session is looked at, given the shortest time-out."""
    return min(max(shortest_limit_s * LIMIT_FRACTION, ROUND_S_MIN), ROUND_S_MAX)


class Sweeper:
    """Goes round for ever; *members* answers who is there at the beginning of a round."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        members: Callable[[], Iterable[Sweepable]],
        shortest_limit_s: Callable[[], float],
        each_round: Callable[[float], object] = lambda now: None,
    ) -> None:
        self._loop = loop
        self._members = members
        self._shortest_limit_s = shortest_limit_s
        self._each_round = each_round
        self._left: list[Sweepable] = []
        self._slice = SLICE_SESSIONS_MIN
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Sweeper left={len(self._left)} slice={self._slice}>"

    def start(self) -> None:
        self._timer = self._loop.call_later(self._pause_s(), self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._left.clear()

    def _pause_s(self) -> float:
        return round_s(self._shortest_limit_s()) / SLICES_PER_ROUND

    def _tick(self) -> None:
        # First, so that a failure of one session does not end all time-outs.
        self._timer = self._loop.call_later(self._pause_s(), self._tick)
        now = time.monotonic()
        if not self._left:
            self._begin_round(now)
        left = self._left
        count = min(self._slice, len(left))
        for member in left[-count:] if count else ():
            left.pop()
            member.sweep(now)

    def _begin_round(self, now: float) -> None:
        self._left = list(self._members())
        self._slice = max(SLICE_SESSIONS_MIN, -(-len(self._left) // SLICES_PER_ROUND))
        self._each_round(now)
