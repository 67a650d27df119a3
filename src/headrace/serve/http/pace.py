"""How fast bytes move: too slowly, or as fast as is allowed."""

from __future__ import annotations

from headrace.serve.limits import Limits

# How long a paced transfer sends and then waits: short enough to look even to the client.
PACE_S = 0.1
LOOKS = 5


class Progress:
    """Bytes that moved, looked at now and then; whoever holds a connection must use it."""

    __slots__ = ("_looked_s", "_moved", "_moved_s", "_window_moved", "_window_s")

    def __init__(self, now: float) -> None:
        self._moved = self._window_moved = 0
        self._looked_s = self._moved_s = self._window_s = now

    def is_due(self, now: float, limits: Limits) -> bool:
        """Is it time to look again?  Five times in each limit are enough: looking is no trifle."""
        shortest_s = min(limits.stall_timeout_s, limits.rate_window_s)
        if now - self._looked_s < shortest_s / LOOKS:
            return False
        self._looked_s = now
        return True

    def too_slow(self, now: float, moved: int, limits: Limits) -> bool:
        """*moved* bytes so far: nothing for too long, or too little in the latest window?"""
        if moved != self._moved:
            self._moved, self._moved_s = moved, now
        elif now - self._moved_s >= limits.stall_timeout_s:
            return True
        elapsed = now - self._window_s
        if elapsed < limits.rate_window_s:
            return False
        least = (limits.rate_bytes_per_s_min or 0) * elapsed
        slow = moved - self._window_moved < least
        self._window_moved, self._window_s = moved, now
        return slow


class Pace:
    """A rate that is not exceeded."""

    __slots__ = ("_due_s", "_rate", "turn_bytes", "waits")

    def __init__(self, rate_bytes_per_s: int, now: float) -> None:
        self._rate = rate_bytes_per_s
        self._due_s = now
        self.waits = False  # for its time, and for nothing else
        self.turn_bytes = max(1, int(rate_bytes_per_s * PACE_S))

    def spend(self, count: int, now: float) -> float:
        """*count* bytes were sent; how many seconds to wait before more are.

        Time in which the client took nothing is not made up for.
        """
        self._due_s = max(self._due_s, now - PACE_S) + count / self._rate
        return max(0.0, self._due_s - now)
