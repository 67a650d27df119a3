"""Stalls, minimum rates and paces, without a clock."""

import pytest

from headrace.serve.ftp.progress import BURST_S, Pace, Progress
from headrace.serve.limits import Limits

LIMITS = Limits(stall_timeout_s=10.0, rate_bytes_per_s_min=100, rate_window_s=20.0)


def test_nothing_for_too_long_is_a_stall() -> None:
    progress = Progress(0.0)
    assert not progress.too_slow(9.9, 0, LIMITS)
    assert progress.too_slow(10.0, 0, LIMITS)


def test_a_byte_ends_a_stall() -> None:
    progress = Progress(0.0)
    assert not progress.too_slow(9.0, 1, LIMITS)
    assert not progress.too_slow(18.0, 1, LIMITS)
    assert progress.too_slow(19.0, 1, LIMITS)


def test_a_window_below_the_minimum_is_too_slow() -> None:
    progress = Progress(0.0)
    for now in range(20):
        assert not progress.too_slow(now, now, LIMITS)
    assert progress.too_slow(20.0, 1999, LIMITS)


def test_each_window_counts_for_itself() -> None:
    progress = Progress(0.0)
    assert not progress.too_slow(20.0, 1_000_000, LIMITS)
    assert progress.too_slow(40.0, 1_000_001, LIMITS)


def test_who_is_held_down_needs_half_of_that_rate() -> None:
    progress = Progress(0.0)
    assert not progress.too_slow(20.0, 1000, LIMITS, rate_max=100)
    assert progress.too_slow(40.0, 1999, LIMITS, rate_max=100)


def test_a_maximum_that_holds_nobody_down_excuses_nobody() -> None:
    progress = Progress(0.0)
    assert progress.too_slow(20.0, 1999, LIMITS, rate_max=1_000_000)


def test_no_minimum_is_no_minimum() -> None:
    progress = Progress(0.0)
    limits = Limits(stall_timeout_s=100.0, rate_bytes_per_s_min=None, rate_window_s=20.0)
    assert not progress.too_slow(90.0, 1, limits)


def test_the_kernel_is_asked_a_few_times_in_a_limit() -> None:
    progress = Progress(0.0)
    asked = [now for now in range(100) if progress.is_due(float(now), LIMITS)]
    assert asked == list(range(0, 100, 2))  # five times in ten seconds


def test_a_pace_waits_for_what_was_sent() -> None:
    pace = Pace(1000, 0.0)
    assert pace.share_bytes == 100
    assert pace.spend(100, 0.0) == pytest.approx(0.1)
    assert pace.spend(100, 0.1) == pytest.approx(0.1)
    assert pace.spend(400, 0.2) == pytest.approx(0.4)


def test_a_pace_forgives_a_second_at_most() -> None:
    pace = Pace(1000, 0.0)
    now = 100.0
    sent = 0
    while pace.spend(100, now) == 0:
        sent += 100
    assert sent == 1000 * BURST_S


def test_what_waits_for_its_rate_has_not_stalled() -> None:
    limits = Limits(stall_timeout_s=1.0)
    progress = Progress(0.0)
    for now in (0.9, 1.8, 2.7):
        progress.hold(now)
        assert not progress.too_slow(now, 0, limits, rate_max=1000)
    assert progress.too_slow(3.7, 0, limits, rate_max=1000)
