"""Events that are alike: the first at once, then one line for many."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.serve.logs import Log
from headrace.serve.repeats import CHARACTERS_MAX, KINDS_MAX, MANY, REPEAT_S, Repeats


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def repeats(clock: Clock) -> Repeats:
    return Repeats(clock)


def note(repeats: Repeats, address: str = "192.0.2.1", at_once: int = 1, **fields: object) -> int:
    """For how many the line stands; 0: there is none."""
    told = repeats.note("refused", {"address": address, **fields}, at_once)
    return 0 if told is None else told.events


def test_first_is_told_at_once_and_of_the_others_how_many_there_were(repeats, clock):
    assert [note(repeats) for _ in range(5)] == [1, 0, 0, 0, 0]
    clock.now_s += REPEAT_S
    assert [note(repeats) for _ in range(3)] == [5, 0, 0]
    clock.now_s += REPEAT_S
    assert note(repeats) == 3


def test_what_was_gathered_is_told_in_time_though_nothing_new_comes(repeats, clock):
    note(repeats, number=1)
    note(repeats, number=2)
    note(repeats, number=3)
    assert list(repeats.due()) == []
    clock.now_s += REPEAT_S
    (told,) = repeats.due()
    assert (told.events, told.fields["number"]) == (2, 3)
    # No new first one is told at once before there was silence.
    assert note(repeats) == 0
    clock.now_s += REPEAT_S
    assert [told.events for told in repeats.due()] == [1]
    clock.now_s += REPEAT_S
    assert list(repeats.due()) == []
    assert "kinds=0" in repr(repeats)
    assert note(repeats) == 1


def test_some_may_be_told_at_once_as_long_as_they_are_few(repeats, clock):
    assert [note(repeats, at_once=3) for _ in range(2)] == [1, 1]
    clock.now_s += REPEAT_S
    assert [note(repeats, at_once=3) for _ in range(5)] == [1, 1, 1, 0, 0]
    clock.now_s += REPEAT_S
    assert [note(repeats, at_once=3) for _ in range(3)] == [3, 0, 0]


def test_addresses_and_statuses_are_told_one_by_one(repeats):
    assert note(repeats, "192.0.2.1", status=404) == 1
    assert note(repeats, "192.0.2.2", status=404) == 1
    assert note(repeats, "192.0.2.1", status=507) == 1
    assert note(repeats, "2001:db8::1") == 1
    assert note(repeats, "2001:db8::2") == 0  # the same /64: one customer's


def test_memory_is_bounded_and_what_has_no_room_is_told_together(repeats, clock):
    lines = [note(repeats, f"10.0.{at >> 8}.{at & 255}", path="x" * 9999) for at in range(5000)]
    assert sum(lines) == KINDS_MAX + 1
    assert f"kinds={KINDS_MAX + 1}" in repr(repeats)
    clock.now_s += REPEAT_S
    (told,) = repeats.due()
    assert told.fields == {"address": MANY, "path": "x" * CHARACTERS_MAX}
    assert told.events == 5000 - KINDS_MAX - 1
    clock.now_s += REPEAT_S
    assert list(repeats.due()) == []
    assert "kinds=0" in repr(repeats)


def test_log_gathers_and_at_its_end_nothing_is_left_untold(tmp_path: Path, clock: Clock):
    log = Log(file=str(tmp_path / "log"), wall_s=lambda: 0.0, now_s=clock)
    for number in range(4):
        log.repeated("refused", address="192.0.2.1", reason="many", number=number)
    log.tell_repeated()
    clock.now_s += REPEAT_S
    log.tell_repeated()
    log.repeated("refused", address="192.0.2.1", reason="many", number=4)
    log.close()
    stamp = "1970-01-01T00:00:00.000Z refused address=192.0.2.1 reason=many"
    assert (tmp_path / "log").read_text().splitlines() == [
        f"{stamp} number=0",
        f"{stamp} number=3 count=3",
        f"{stamp} number=4",
    ]
