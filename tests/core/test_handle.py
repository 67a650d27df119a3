"""Handles: asyncio's in every respect that a program can see."""

from __future__ import annotations

import asyncio
import contextvars
import sys

import pytest


def callback(*arguments):
    """What the handles of these tests would call."""


@pytest.fixture(params=["headrace", "asyncio"])
def any_loop(request):
    if request.param == "asyncio":
        loop = asyncio.new_event_loop()
        yield loop
        loop.close()
    else:
        yield request.getfixturevalue("loop")


def test_handles_are_asyncios(any_loop):
    soon = any_loop.call_soon(callback)
    later = any_loop.call_later(60, callback)
    assert isinstance(soon, asyncio.Handle)
    assert not isinstance(soon, asyncio.TimerHandle)
    assert isinstance(later, asyncio.Handle)
    assert isinstance(later, asyncio.TimerHandle)


def test_handle_shows_its_callback(any_loop):
    handle = any_loop.call_soon(callback, 1, "two")
    assert repr(handle).startswith("<Handle callback(")
    assert "test_handle.py" in repr(handle)
    handle.cancel()
    assert repr(handle) == "<Handle cancelled>"
    timer = any_loop.call_at(12.5, callback)
    assert repr(timer).startswith("<TimerHandle when=12.5 callback() at ")
    timer.cancel()
    assert repr(timer) == "<TimerHandle cancelled when=12.5>"


def test_handle_in_debug_mode_shows_where_it_was_made(any_loop):
    any_loop.set_debug(True)
    handle = any_loop.call_soon(callback)
    assert "created at " in repr(handle)
    assert "test_handle.py" in repr(handle).split("created at ")[1]
    handle.cancel()
    assert "callback" in repr(handle)


@pytest.mark.parametrize("debug", [False, True])
def test_handle_shows_its_arguments_where_asyncios_does(any_loop, debug):
    any_loop.set_debug(debug)
    expected = "callback()" if sys.version_info >= (3, 13) and not debug else "callback('secret')"
    assert repr(any_loop.call_soon(callback, "secret")).startswith(f"<Handle {expected} ")


def test_cancelled_handle_does_not_run(any_loop):
    ran = []
    handle = any_loop.call_soon(ran.append, 1)
    assert not handle.cancelled()
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert ran == []


def test_handle_cancelled_by_an_earlier_callback_of_the_same_turn_does_not_run(any_loop):
    ran = []
    any_loop.call_soon(lambda: victim.cancel())
    victim = any_loop.call_soon(ran.append, 1)
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert ran == []


def test_handle_runs_in_the_context_given(any_loop):
    place = contextvars.ContextVar("place")
    context = contextvars.Context()
    context.run(place.set, "given")
    seen = []
    handle = any_loop.call_soon(lambda: seen.append(place.get(None)), context=context)
    if hasattr(handle, "get_context"):
        assert handle.get_context() is context
    place.set("current")
    any_loop.call_soon(lambda: seen.append(place.get(None)))
    place.set("later")
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert seen == ["given", "current"]


def test_timer_handles_compare_by_deadline(any_loop):
    early = any_loop.call_at(1e9, callback)
    late = any_loop.call_at(2e9, callback)
    same = any_loop.call_at(1e9, callback)
    assert early < late
    assert early <= late
    assert late > early
    assert late >= same
    assert early == same
    assert early != late
    assert hash(early) == hash(same)
    assert early.when() == 1e9
    for handle in (early, late, same):
        handle.cancel()


@pytest.mark.parametrize("error_type", [KeyboardInterrupt, SystemExit])
def test_callback_that_ends_the_program_loses_nothing_queued(any_loop, error_type):
    ran = []

    def end():
        raise error_type("now")

    any_loop.call_soon(ran.append, 1)
    any_loop.call_soon(end)
    any_loop.call_soon(ran.append, 2)
    any_loop.call_soon(any_loop.stop)
    with pytest.raises(error_type, match="now"):
        any_loop.run_forever()
    assert ran == [1]
    any_loop.run_forever()
    assert ran == [1, 2]


def test_callback_that_raises_is_reported_and_the_next_one_runs(any_loop):
    reported = []
    any_loop.set_exception_handler(lambda _, context: reported.append(context))
    ran = []

    def fail():
        raise LookupError("meant")

    handle = any_loop.call_soon(fail)
    any_loop.call_soon(ran.append, 1)
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert ran == [1]
    (context,) = reported
    assert str(context["exception"]) == "meant"
    assert context["handle"] is handle


def test_callback_that_cannot_be_called_is_reported(any_loop):
    reported = []
    any_loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    any_loop.call_soon(callback.__name__)
    any_loop.call_soon(lambda: None, "one argument too many")
    any_loop.call_soon(any_loop.stop)
    any_loop.run_forever()
    assert [type(error) for error in reported] == [TypeError, TypeError]
