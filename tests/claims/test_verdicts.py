"""From bounds to verdicts, with numbers that are made up: near a bound nothing is decided."""

import math

import pytest

from headrace.claims import verdicts
from headrace.claims.claim import DEPENDS, HOLDS, REFUTED, UNDECIDED, VERDICTS
from headrace.claims.measure import Interval, Slope


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [
        (Slope(1.0, 0.05), HOLDS),
        (Slope(1.3, 0.1), HOLDS),
        (Slope(0.8, 0.1), HOLDS),
        (Slope(0.8, 0.16), UNDECIDED),
        (Slope(0.5, 0.0), UNDECIDED),
        (Slope(0.4, 0.0), UNDECIDED),
        (Slope(0.3, 0.0), UNDECIDED),
        (Slope(0.0, 0.2), UNDECIDED),
        (Slope(0.0, 0.05), REFUTED),
        (Slope(0.15, 0.02), REFUTED),
        (Slope(-0.1, 0.02), REFUTED),
        (Slope(1.0, None), UNDECIDED),
        (Slope(0.0, None), UNDECIDED),
        (Slope(math.nan, 0.0), UNDECIDED),
    ],
)
def test_grows_needs_an_exponent_that_is_clear(slope, verdict):
    assert verdicts.grows(slope) == verdict
    assert verdicts.is_flat(slope) == verdicts.opposite(verdict)


@pytest.mark.parametrize(
    ("low", "high", "bound", "verdict"),
    [
        (2.0, 3.0, 1.5, HOLDS),
        (1.8, 9.0, 1.5, HOLDS),
        (1.6, 3.0, 1.5, UNDECIDED),
        (1.0, 3.0, 1.5, UNDECIDED),
        (1.0, 1.4, 1.5, UNDECIDED),
        (1.0, 1.2, 1.5, REFUTED),
        (0.1, 0.2, 1.5, REFUTED),
        (0.9, 1.1, 1.0, UNDECIDED),
    ],
)
def test_at_least_looks_at_the_bound_that_is_nearer(low, high, bound, verdict):
    ratio = Interval(low, (low + high) / 2, high)
    assert verdicts.at_least(ratio, bound) == verdict
    assert verdicts.at_most(ratio, bound) == verdicts.opposite(verdict)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.0, 1.0, HOLDS),
        (0.8, 1.3, HOLDS),
        (0.7, 1.7, HOLDS),
        (0.5, 1.7, UNDECIDED),
        (0.9, 1.8, UNDECIDED),
        (1.8, 2.5, REFUTED),
        (0.1, 0.2, REFUTED),
    ],
)
def test_is_alike_needs_both_bounds_within(low, high, verdict):
    assert verdicts.is_alike(Interval(low, (low + high) / 2, high), 1.5) == verdict


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(1.0, HOLDS), (0.81, HOLDS), (0.8, UNDECIDED), (0.5, UNDECIDED), (0.2, UNDECIDED),
     (0.19, REFUTED), (0.0, REFUTED), (math.nan, UNDECIDED)],
)  # fmt: skip
def test_share_is_not_decided_between_little_and_much(share, verdict):
    assert verdicts.share_above(share, 0.8, 0.2) == verdict
    assert verdicts.share_below(share, 0.8, 0.2) == verdicts.opposite(verdict)


def test_counted_is_so_or_is_not():
    assert (verdicts.counted(True), verdicts.counted(False)) == (HOLDS, REFUTED)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_opposite_twice_is_the_same(verdict):
    assert verdicts.opposite(verdicts.opposite(verdict)) == verdict


def test_opposite_keeps_what_is_not_decided():
    assert verdicts.opposite(UNDECIDED) == UNDECIDED
    assert verdicts.opposite(HOLDS) == REFUTED


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([REFUTED, REFUTED], REFUTED),
        ([HOLDS, REFUTED], DEPENDS),
        ([REFUTED, HOLDS], DEPENDS),
        ([HOLDS, UNDECIDED], UNDECIDED),
        ([REFUTED, UNDECIDED, HOLDS], UNDECIDED),
        ([HOLDS], HOLDS),
    ],
)
def test_all_of_depends_on_the_part_where_parts_differ(parts, verdict):
    assert verdicts.all_of(*parts) == verdict
