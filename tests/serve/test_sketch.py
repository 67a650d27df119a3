"""Sketches: counts by address in a fixed size of memory, never too small and seldom too big."""

from __future__ import annotations

import pytest

from headrace.serve import sketch
from headrace.serve.sketch import Connections, Failures

WHILE_S = 100.0


def test_connections_of_an_address_are_those_of_the_other_workers():
    counted = Connections(3)
    counted.add(1, "busy", 100)
    counted.add(2, "busy", 50)
    assert [counted.elsewhere(worker, "busy") for worker in range(3)] == [150, 50, 100]
    counted.add(1, "busy", -100)
    assert counted.elsewhere(0, "busy") == 50
    counted.clear(2)
    assert counted.elsewhere(0, "busy") == 0


def test_only_worker_has_no_connections_elsewhere():
    counted = Connections()
    counted.add(0, "busy", 5)
    assert counted.elsewhere(0, "busy") == 0


def test_counts_are_never_too_small_and_hardly_too_big_with_thousands_of_addresses():
    counted = Connections(2)
    for number in range(3000):
        counted.add(1, f"192.0.2.{number}", number % 5)
    seen = [counted.elsewhere(0, f"192.0.2.{number}") - number % 5 for number in range(3000)]
    assert min(seen) == 0
    assert sum(seen) < 150  # that 9,000 cells of 49,152 are taken leads to some 20


def test_an_address_that_meets_a_busy_one_in_a_row_or_two_is_not_taken_for_it():
    counted = Connections(2)
    counted.add(1, "busy", 1_000_000)
    assert {counted.elsewhere(0, f"quiet {number}") for number in range(3000)} == {0}


def test_counts_are_too_big_and_not_too_small_where_all_addresses_meet(monkeypatch):
    monkeypatch.setattr(sketch, "COLUMNS", 1)
    counted = Connections(2)
    counted.add(1, "one", 2)
    counted.add(1, "other", 3)
    assert counted.elsewhere(0, "one") == 5
    failures = Failures(2)
    failures.add(0, "one", 0.0, WHILE_S)
    failures.add(1, "other", 0.0, WHILE_S)
    assert failures.count("one", 0.0, WHILE_S) == 2


@pytest.mark.parametrize("now_s", [0.0, 0.001, 1e9])
def test_failures_are_counted_until_there_were_none_for_a_while(now_s):
    failures = Failures(2)
    assert failures.count("a", now_s, WHILE_S) == 0
    failures.add(0, "a", now_s, WHILE_S)
    failures.add(1, "a", now_s + 60, WHILE_S)
    assert failures.count("a", now_s + 60, WHILE_S) == 2
    assert failures.count("b", now_s + 60, WHILE_S) == 0
    failures.add(1, "a", now_s + 90, WHILE_S)
    assert failures.count("a", now_s + 99, WHILE_S) == 3
    assert failures.count("a", now_s + 101, WHILE_S) == 2  # of worker 0 the while is over
    assert failures.count("a", now_s + 191, WHILE_S) == 0
    failures.add(1, "a", now_s + 191, WHILE_S)
    assert failures.count("a", now_s + 191, WHILE_S) == 1


def test_two_sketches_choose_different_cells():
    assert Connections()._places("a") != Connections()._places("a")
