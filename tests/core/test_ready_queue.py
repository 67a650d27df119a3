"""The ready queue, through the loop: growth, bursts, and what is dropped at close."""

from __future__ import annotations

import weakref

import pytest

import headrace


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000, 200_000])
def test_callbacks_run_in_order_whatever_the_queue_must_hold(loop, count):
    ran = []
    for number in range(count):
        loop.call_soon(ran.append, number)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert ran == list(range(count))


def test_queue_that_grows_while_it_is_emptied_keeps_the_order(loop):
    """The ring wraps and grows with its head in the middle."""
    ran = []
    state = {"next": 0}

    def push_two():
        for _ in range(2):
            number = state["next"]
            state["next"] += 1
            if number < 1000:
                loop.call_soon(ran.append, number)
        if state["next"] < 1000:
            loop.call_soon(push_two)
            loop.call_soon(push_two)
        else:
            loop.stop()

    loop.call_soon(push_two)
    loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert sorted(ran) == ran
    assert len(ran) >= 990


def test_callbacks_left_at_close_are_let_go_unrun():
    class Callback:
        def __call__(self):
            raise AssertionError("the loop was closed")

    callbacks = [Callback() for _ in range(100)]
    gone = [weakref.ref(callback) for callback in callbacks]
    loop = headrace.new_event_loop()
    for callback in callbacks:
        loop.call_soon(callback)
    del callback, callbacks
    loop.close()
    assert all(reference() is None for reference in gone)
