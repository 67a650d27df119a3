"""Medians, spreads and ratios, by hand."""

import pytest

from suite.figures import ratio, spread


def test_spread_of_an_odd_count_is_its_middle():
    found = spread([5.0, 1.0, 3.0])
    assert (found.median, found.low, found.high, found.count) == (3.0, 1.0, 5.0, 3)


def test_spread_of_an_even_count_is_halfway():
    assert spread([1.0, 2.0, 4.0, 10.0]).median == 3.0


def test_spread_has_the_quartiles_of_seven_rounds():
    found = spread([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    assert (found.lower_quartile, found.median, found.upper_quartile) == (2.5, 4.0, 5.5)
    assert found.share == pytest.approx(1.5 / 4.0)


def test_spread_of_few_rounds_is_bounded_by_all_of_them():
    found = spread([1.0, 2.0, 3.0])
    assert (found.lower_quartile, found.upper_quartile) == (1.0, 3.0)


def test_spread_leaves_out_rounds_without_the_figure():
    assert spread([None, 2.0, None]).count == 1


def test_spread_of_nothing_is_none():
    assert spread([]) is None
    assert spread([None]) is None


def test_spread_around_zero_has_no_share():
    assert spread([-1.0, 0.0, 1.0]).share == 0.0


def test_ratio_compares_within_a_round():
    # The machine became twice as slow in each round; the ratio did not change.
    found = ratio([2.0, 4.0, 8.0], [1.0, 2.0, 4.0])
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)


def test_ratio_is_no_ratio_of_medians():
    found = ratio([1.0, 2.0, 9.0], [1.0, 4.0, 3.0])
    assert found.median == 1.0
    assert spread([1.0, 2.0, 9.0]).median / spread([1.0, 4.0, 3.0]).median < 1.0


def test_ratio_leaves_out_rounds_that_one_side_has_not():
    assert ratio([1.0, None, 3.0], [1.0, 1.0, None]).count == 1
    assert ratio([1.0, 2.0], [1.0]).count == 1


def test_ratio_over_zero_is_none():
    assert ratio([1.0], [0.0]) is None
