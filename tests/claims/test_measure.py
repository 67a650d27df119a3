"""Medians, their bounds, ratios and slopes, with numbers that are made up."""

import math
import mmap
import random
import time

import pytest

from headrace.claims import measure
from headrace.claims.measure import Interval, Slope


@pytest.mark.parametrize(
    ("count", "left_out"), [(1, 0), (3, 0), (5, 0), (6, 0), (8, 0), (9, 1), (12, 2), (25, 7)]
)
def test_rank_leaves_out_what_the_confidence_allows(count, left_out):
    assert measure.rank(count) == left_out


def test_rank_keeps_the_median_within_bounds_as_often_as_it_says():
    source = random.Random(7)
    tries = 2000
    inside = 0
    for _ in range(tries):
        found = measure.interval([source.random() for _ in range(9)])
        inside += found.low <= 0.5 <= found.high
    assert inside / tries > measure.CONFIDENCE


def test_interval_is_the_range_where_samples_are_few():
    assert measure.interval([3.0, 1.0, 2.0]) == Interval(1.0, 2.0, 3.0)


def test_interval_drops_one_outlier_of_nine():
    assert measure.interval([*map(float, range(1, 9)), 1000.0]) == Interval(2.0, 5.0, 8.0)


def test_ratio_is_taken_round_by_round():
    # The machine became ten times slower in between: the ratio did not change.
    assert measure.ratio([2.0, 20.0, 200.0], [1.0, 10.0, 100.0]) == Interval(2.0, 2.0, 2.0)


def test_ratio_refuses_rounds_that_do_not_match():
    with pytest.raises(ValueError, match="shorter"):
        measure.ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_log_slope_is_the_exponent(exponent):
    slope = measure.log_slope([(n, 3 * n**exponent) for n in (64.0, 256.0, 1024.0, 10_000.0)])
    assert slope.value == pytest.approx(exponent, abs=1e-9)
    assert slope.error == pytest.approx(0, abs=1e-6)


def test_log_slope_of_log_n_is_small():
    slope = measure.log_slope([(n, math.log(n)) for n in (64.0, 256.0, 1024.0, 10_000.0)])
    assert 0.1 < slope.value < 0.2


def test_log_slope_is_uncertain_where_points_scatter():
    even = measure.log_slope([(10, 10), (100, 100), (1000, 1000), (10_000, 10_000)])
    uneven = measure.log_slope([(10, 30), (100, 40), (1000, 3000), (10_000, 4000)])
    assert uneven.error > 10 * even.error


def test_log_slope_of_two_points_has_no_known_error():
    slope = measure.log_slope([(1, 1), (10, 10)])
    assert (slope.value, slope.error) == (pytest.approx(1), None)
    assert str(slope) == "1.00 (of two points)"
    assert slope.figures() == {"exponent": pytest.approx(1)}


def test_slope_gives_its_error_as_a_figure():
    assert Slope(1.0, 0.1).figures() == {"exponent": 1.0, "exponent_error": 0.1}


@pytest.mark.parametrize("value", [-0.001, 0.0, 0.001])
def test_slope_that_is_flat_has_no_sign(value):
    assert str(Slope(value, 0.01)) == "0.00 ± 0.02"


def test_interleaved_takes_one_of_each_in_each_round():
    seen = []
    samples = {name: lambda name=name: float(len(seen.append(name) or seen)) for name in "ab"}
    assert measure.interleaved(samples, 3) == {"a": [1, 3, 5], "b": [2, 4, 6]}
    assert seen == list("ababab")


def test_cpu_ns_does_not_count_sleeping():
    assert measure.cpu_ns(lambda: time.sleep(0.05), 1) < 0.04e9


def test_calls_for_is_bounded_where_a_call_costs_nothing(monkeypatch):
    monkeypatch.setattr(measure, "cpu_ns", lambda call, count: 0.0)
    assert measure.calls_for(lambda: None, 1.0) == measure.CALLS_MAX


def test_costs_ns_has_one_cost_for_each_round():
    costs = measure.costs_ns({"a": lambda: None, "b": lambda: sum(range(100))}, 3, 0.0001)
    assert {who: len(samples) for who, samples in costs.items()} == {"a": 3, "b": 3}
    assert all(cost > 0 for samples in costs.values() for cost in samples)


def test_costs_ns_warms_up_before_each_sample(monkeypatch):
    done = []
    monkeypatch.setattr(measure, "cpu_ns", lambda call, count: done.append("timed") or 1e9)
    measure.costs_ns({"a": lambda: done.append("call")}, 2, 0.001)
    assert done == ["timed", *[*["call"] * measure.WARM_CALLS, "timed"] * 2]


def test_medians_are_by_name():
    assert measure.medians({"a": [3, 1, 2], "b": [5]}) == {"a": 2, "b": 5}


def test_voluntary_switches_counts_a_sleep():
    before = measure.voluntary_switches()
    time.sleep(0.001)
    assert measure.voluntary_switches() > before


def test_resident_bytes_knows_what_was_touched():
    # Fresh pages: malloc might take some that were touched before.
    with mmap.mmap(-1, 20_000_000) as kept:
        before = measure.resident_bytes()
        kept.write(b"x" * 20_000_000)
        assert measure.resident_bytes() - before > 15_000_000
