"""The timer heap, through the loop that owns it; heapq with an order number is the oracle."""

from __future__ import annotations

import heapq
import os
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headrace

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(-3, 20)),
        st.tuples(st.just("set"), st.floats(0, 20).map(lambda when: round(when, 6))),
        st.tuples(st.just("cancel"), st.integers(0, 1000)),
        st.tuples(st.just("advance"), st.integers(0, 6)),
    ),
    max_size=120,
)
ROUNDS = 10
TIMERS_PER_ROUND = 100_000


class Oracle:
    """What heapq makes of the same steps."""

    def __init__(self):
        self.heap = []
        self.live = set()

    def set(self, when, number):
        heapq.heappush(self.heap, (when, number))
        self.live.add(number)

    def due(self, now):
        ran = []
        while self.heap and self.heap[0][0] <= now:
            _, number = heapq.heappop(self.heap)
            if number in self.live:
                self.live.remove(number)
                ran.append(number)
        return ran


def run_due(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()
    # What was due at that turn has been queued behind stop(), and runs with it.


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_timers_fire_as_heapq_says_whatever_is_cancelled(steps):
    loop = headrace.new_event_loop("epoll")
    now = 1000.0
    loop.time = lambda: now
    oracle = Oracle()
    handles = []
    ran = []
    try:
        for step, value in [*steps, ("advance", 100)]:
            if step == "set":
                number = len(handles)
                handles.append(loop.call_at(now + value, ran.append, number))
                oracle.set(now + value, number)
            elif step == "cancel" and handles:
                number = value % len(handles)
                handles[number].cancel()
                oracle.live.discard(number)
            elif step == "advance":
                now += value
                ran.clear()
                run_due(loop)
                assert ran == oracle.due(now)
    finally:
        loop.close()


def test_timers_with_equal_deadlines_fire_in_order_also_after_cancelling(loop, clock):
    ran = []
    handles = [loop.call_at(clock.now + 1, ran.append, number) for number in range(1000)]
    for number in range(0, 1000, 3):
        handles[number].cancel()
    clock.now += 1
    run_due(loop)
    assert ran == [number for number in range(1000) if number % 3]


@pytest.mark.parametrize("order", ["first to last", "last to first", "random"])
def test_all_timers_can_be_cancelled_in_any_order(loop, clock, order):
    ran = []
    handles = [loop.call_later(number % 97, ran.append, number) for number in range(5000)]
    if order == "last to first":
        handles.reverse()
    elif order == "random":
        random.Random(1).shuffle(handles)
    for handle in handles:
        handle.cancel()
        handle.cancel()
    clock.now += 1000
    run_due(loop)
    assert ran == []


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.memory
def test_million_timers_set_and_cancelled_hold_no_memory(loop):
    """Every request's time-out: the heap must not keep what was cancelled, nor its capacity."""
    after = []
    for _ in range(ROUNDS):
        handles = [loop.call_later(60 + number % 7, print) for number in range(TIMERS_PER_ROUND)]
        for handle in handles:
            handle.cancel()
        del handles, handle
        after.append(resident_bytes())
    assert max(after[2:]) - after[1] < 4 * 1024 * 1024


def test_timer_that_is_cancelled_lets_go_of_its_callback_at_once(loop):
    import weakref

    class Callback:
        def __call__(self):
            raise AssertionError("it was cancelled")

    callback = Callback()
    gone = weakref.ref(callback)
    handle = loop.call_later(60, callback)
    del callback
    assert gone() is not None
    handle.cancel()
    assert gone() is None


def test_timers_left_at_close_let_go_of_their_callbacks():
    import weakref

    class Callback:
        def __call__(self):
            raise AssertionError("the loop was closed")

    callback = Callback()
    gone = weakref.ref(callback)
    loop = headrace.new_event_loop()
    loop.call_later(60, callback)
    del callback
    loop.close()
    assert gone() is None


def test_timers_set_by_timers_fire_in_later_turns(loop, clock):
    ran = []

    def again(depth):
        ran.append(depth)
        if depth < 5:
            loop.call_later(0, again, depth + 1)
        else:
            loop.stop()

    loop.call_later(0, again, 0)
    loop.run_forever()
    assert ran == [0, 1, 2, 3, 4, 5]


def test_very_distant_timer_does_no_harm(loop):
    ran = []
    handles = [loop.call_later(delay, ran.append, delay) for delay in (1e9, 1e18, float("inf"))]
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert ran == []
    for handle in handles:
        handle.cancel()


def test_gaps_of_cancelled_timers_are_closed_before_they_are_the_larger_half(loop):
    """Every second one cancelled, then most of the rest: what is left fires, in order."""
    now = 1000.0
    loop.time = lambda: now
    ran = []
    handles = [loop.call_at(now + number, ran.append, number) for number in range(1000)]
    kept = [number for number in range(1000) if number % 50 == 7]
    for number, handle in enumerate(handles):
        if number % 50 != 7:
            handle.cancel()
    more = [
        loop.call_at(now + number + 0.5, ran.append, number + 0.5) for number in range(0, 90, 9)
    ]
    now += 2000
    run_due(loop)
    assert ran == sorted([*kept, *(number + 0.5 for number in range(0, 90, 9))])
    assert len(more) == 10
