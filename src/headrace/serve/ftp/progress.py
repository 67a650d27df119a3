"""How fast a transfer is: too slow for a client's good, or as slow as a user's rate wants it."""

from headrace.serve.limits import Limits

__all__ = ["Pace", "Progress"]

LOOKS_PER_LIMIT = 5
# A reader who paused may be served so much at once afterwards, in seconds of its rate.
BURST_S = 1.0
# A transfer of limited rate is served so many seconds' worth at a time.
PACE_S = 0.1


class Progress:
    """When bytes moved last, and whether that is fast enough; asked by the sweeper only."""

    __slots__ = ("began_s", "look_s", "moved", "moved_s", "window_moved", "window_s")

    def __init__(self, now: float) -> None:
        self.moved = self.window_moved = 0
        self.begin(now)

    def begin(self, now: float) -> None:
        """The time counts from here on: the client has connected."""
        self.began_s = self.moved_s = self.window_s = self.look_s = now

    def is_due(self, now: float, limits: Limits) -> bool:
        """Whether it is time to ask the kernel how many bytes have moved.

        Ten thousand transfers are swept past every few seconds, and asking costs a system call: so
        it is done so many times in the limits that count, and no more.
        """
        if now < self.look_s:
            return False
        shortest_s = min(limits.stall_timeout_s, limits.rate_window_s)
        self.look_s = now + shortest_s / LOOKS_PER_LIMIT
        return True

    def hold(self, now: float) -> None:
        """It is we who wait, and not for the client: that is no stall of it."""
        self.moved_s = now

    def too_slow(
        self, now: float, moved: int, limits: Limits, *, rate_max: int | None = None
    ) -> bool:
        """Whether *moved* bytes by *now* are too few.

        Nothing for `stall_timeout_s` is too little; and so are less than `rate_bytes_per_s_min` for
        `rate_window_s`; where we hold it down to *rate_max*, half of that is enough.
        """
        if moved > self.moved:
            self.moved, self.moved_s = moved, now
        elif now - self.moved_s >= limits.stall_timeout_s:
            return True
        window_s = now - self.window_s
        if window_s < limits.rate_window_s:
            return False
        least = limits.rate_bytes_per_s_min or 0.0
        if rate_max is not None:
            least = min(least, rate_max / 2)
        too_few = least * window_s > moved - self.window_moved
        self.window_s, self.window_moved = now, moved
        return too_few


class Pace:
    """A rate that is not exceeded: when what was sent is due, and how much may be sent at once."""

    __slots__ = ("due_s", "rate", "share_bytes")

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self.share_bytes = max(1, int(rate * PACE_S))
        self.due_s = now

    def spend(self, count: int, now: float) -> float:
        """Seconds to wait after *count* bytes; 0 for none."""
        self.due_s = max(self.due_s, now - BURST_S) + count / self.rate
        return max(0.0, self.due_s - now)
