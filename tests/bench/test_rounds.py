"""The order of measuring, and what becomes of those that fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from suite.cell import Cell, Failure, Measure, Plan, Sample
from suite.contenders import Contender
from suite.rounds import CellResult, generations, measure_cell

A, B, C = (Contender(name, name) for name in "abc")


def measured(
    take: Callable[[str], Sample], *contenders: Contender, rounds: int = 7, **options: object
) -> tuple[CellResult, list[str]]:
    """The result, and what happened in which order."""
    events: list[str] = []

    @contextmanager
    def prepare(contender: Contender, plan: Plan) -> Iterator[Measure]:
        if contender.name == "c":
            raise Failure("c does not start")
        events.append(f"+{contender.name}")

        def measure() -> Sample:
            events.append(contender.name)
            return take(contender.name)

        yield measure
        events.append(f"-{contender.name}")

    cell = Cell("cell", prepare, contenders, "cpu_us", ("cpu_us",), **options)
    result = measure_cell(cell, contenders, Plan(rounds=rounds), lambda who, number: None)
    return result, events


def sample(name: str) -> Sample:
    return Sample({"cpu_us": 1.0})


def test_rounds_go_around_the_contenders_and_begin_with_another_each_time():
    _, events = measured(sample, A, B, rounds=3)
    assert events == ["+a", "+b", "a", "b", "b", "a", "a", "b", "-b", "-a"]


def test_servers_are_started_anew_every_three_rounds():
    result, events = measured(sample, A, B, rounds=7)
    assert events.count("+a") == events.count("-a") == 3
    assert [len(row.samples) for row in result.rows] == [7, 7]


@pytest.mark.parametrize(
    ("rounds", "found"), [(1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1]), (9, [3, 3, 3])]
)
def test_generations_make_up_the_rounds(rounds, found):
    parts = list(generations(rounds))
    assert [len(part) for part in parts] == found
    assert [number for part in parts for number in part] == list(range(rounds))


def test_contender_that_does_not_start_has_the_reason_and_the_others_go_on():
    result, _ = measured(sample, A, C, B, rounds=3)
    assert [row.reason for row in result.rows] == [None, "c does not start", None]
    assert [len(row.samples) for row in result.rows] == [3, 0, 3]


def test_contender_with_a_reason_is_not_started():
    _, events = measured(sample, A, B.without("it is not installed"), rounds=1)
    assert events == ["+a", "a", "-a"]


def test_contender_that_fails_once_is_not_measured_again():
    counts = {"a": 0, "b": 0}

    def take(name: str) -> Sample:
        counts[name] += 1
        if name == "a" and counts[name] == 2:
            raise Failure("wrong bytes")
        return sample(name)

    result, _ = measured(take, A, B, rounds=7)
    assert counts == {"a": 2, "b": 7}
    assert result.rows[0].reason == "wrong bytes"


def test_disturbed_round_is_measured_once_more():
    calls = []

    def take(name: str) -> Sample:
        calls.append(name)
        return Sample({"cpu_us": len(calls)}, disturbed="busy" if len(calls) == 1 else None)

    result, _ = measured(take, A, rounds=1)
    assert len(calls) == 2
    assert [one.figures["cpu_us"] for one in result.rows[0].samples] == [2]


def test_round_that_stays_disturbed_is_kept_with_its_mark():
    result, events = measured(lambda name: Sample({}, disturbed="busy"), A, rounds=1)
    assert events.count("a") == 2
    assert [one.disturbed for one in result.rows[0].samples] == ["busy"]


def test_cell_may_need_fewer_rounds():
    result, _ = measured(sample, A, rounds=7, rounds_max=2)
    assert len(result.rows[0].samples) == 2
