"""One timer for all sessions: everybody is looked at, a slice at a time."""

from collections.abc import Callable, Iterable

import pytest

from headrace.serve.sweeper import (
    ROUND_S_MAX,
    ROUND_S_MIN,
    SLICE_SESSIONS_MIN,
    SLICES_PER_ROUND,
    Sweepable,
    Sweeper,
    round_s,
)


class Loop:
    """Remembers the timers, and lets the test say when."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, delay: float, callback: Callable[[], object]) -> "Loop":
        self.timers.append((delay, callback))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def tick(self) -> None:
        self.timers.pop(0)[1]()


class Session:
    def __init__(self, seen: list["Session"]) -> None:
        self.seen = seen

    def sweep(self, now: float) -> None:
        self.seen.append(self)


def sweeper(
    loop: Loop, members: Callable[[], Iterable[Sweepable]], limit_s: float = 10.0
) -> Sweeper:
    made: Sweeper = Sweeper(loop, members, lambda: limit_s)  # type: ignore[arg-type]
    made.start()
    return made


@pytest.mark.parametrize("count", [0, 1, SLICE_SESSIONS_MIN, 1000, 10_000])
def test_a_round_looks_at_everybody_once(count: int) -> None:
    loop, seen = Loop(), list[Session]()
    sessions = [Session(seen) for _ in range(count)]
    sweeper(loop, lambda: sessions)
    for _ in range(SLICES_PER_ROUND):
        loop.tick()
        if len(seen) == count:
            break
    assert len(seen) == count
    assert set(seen) == set(sessions)


def test_a_slice_is_bounded() -> None:
    loop, seen = Loop(), list[Session]()
    sessions = [Session(seen) for _ in range(10_000)]
    sweeper(loop, lambda: sessions)
    loop.tick()
    assert len(seen) == 10_000 / SLICES_PER_ROUND


def test_who_comes_later_is_looked_at_in_the_next_round() -> None:
    loop, seen = Loop(), list[Session]()
    sessions = [Session(seen)]
    sweeper(loop, lambda: sessions)
    loop.tick()
    sessions.append(Session(seen))
    loop.tick()
    assert set(seen) == set(sessions)


def test_a_session_that_fails_does_not_end_the_rounds() -> None:
    class Failing:
        def sweep(self, now: float) -> None:
            raise RuntimeError

    loop = Loop()
    sweeper(loop, lambda: [Failing()])
    with pytest.raises(RuntimeError):
        loop.tick()
    assert len(loop.timers) == 1


def test_rounds_are_a_fraction_of_the_shortest_limit() -> None:
    assert round_s(1.0) == pytest.approx(0.25)
    assert round_s(0.001) == ROUND_S_MIN
    assert round_s(3600.0) == ROUND_S_MAX
    loop = Loop()
    made = sweeper(loop, lambda: [], 1.0)
    assert loop.timers[0][0] == pytest.approx(0.25 / SLICES_PER_ROUND)
    made.stop()
    assert loop.timers == []
