"""call_soon() and its like take every form of a call, whichever code serves it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import os
import weakref

import pytest

import headrace

METHODS = ["call_soon", "call_soon_threadsafe", "call_later", "call_at"]


def run_turns(loop, count=3):
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


def schedule(loop, method, callback, *arguments, **keywords):
    when = {"call_later": (0,), "call_at": (loop.time(),)}.get(method, ())
    return getattr(loop, method)(*when, callback, *arguments, **keywords)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("arguments", [(), (1,), (1, 2), (1, 2, 3, 4)], ids=len)
def test_callback_gets_its_arguments(loop, method, arguments):
    got = []
    handle = schedule(loop, method, lambda *them: got.append(them), *arguments)
    assert handle._args == arguments
    run_turns(loop)
    assert got == [arguments]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("debug", [False, True])
def test_callback_has_the_context_given_whoever_asks(loop, method, debug):
    loop.set_debug(debug)
    place = contextvars.ContextVar("place", default="nowhere")
    given = contextvars.Context()
    given.run(place.set, "given")
    got = []
    for context in (given, None):
        # Another spelling of the keyword than the one that the compiler has interned.
        keywords = {"".join(["con", "text"]): context}
        schedule(loop, method, lambda: got.append(place.get()), **keywords)
    run_turns(loop)
    assert got == ["given", "nowhere"]


@pytest.mark.parametrize("method", METHODS)
def test_callback_named_by_keyword_is_called(loop, method):
    got = []
    when = {"call_later": {"delay": 0}, "call_at": {"when": loop.time()}}.get(method, {})
    getattr(loop, method)(**when, callback=lambda: got.append(1))
    run_turns(loop)
    assert got == [1]


@pytest.mark.parametrize("method", METHODS)
def test_unknown_keyword_or_no_callback_is_a_type_error(loop, method):
    with pytest.raises(TypeError, match="unknown"):
        schedule(loop, method, print, unknown=1)
    with pytest.raises(TypeError):
        getattr(loop, method)()
    with pytest.raises(TypeError):
        schedule(loop, method, print, unknown=1, context=None)


@pytest.mark.parametrize("method", METHODS)
def test_closed_loop_schedules_nothing(method):
    loop = headrace.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        schedule(loop, method, print)


@pytest.mark.parametrize(("method", "when"), [("call_later", "delay"), ("call_at", "when")])
def test_time_that_is_none_is_a_type_error(loop, method, when):
    with pytest.raises(TypeError, match=when):
        getattr(loop, method)(None, print)


@pytest.mark.parametrize("delay", [0, 1, 0.5, True])
def test_timer_shows_its_deadline_as_a_number(loop, delay):
    before = loop.time()
    handle = loop.call_later(delay, print)
    assert before + delay <= handle.when() <= loop.time() + delay
    distant = loop.call_at(10**9, print)
    assert distant.when() == 10**9
    handle.cancel()
    distant.cancel()


def test_clock_that_a_program_puts_in_its_place_rules_timers(loop):
    loop.time = lambda: 50.0
    handle = loop.call_later(7, print)
    handle.cancel()
    del loop.time
    assert handle.when() == 57.0


def test_clock_of_a_subclass_rules_timers():
    class Loop(headrace.EventLoop):
        def time(self):
            return 50.0

    loop = Loop()
    try:
        assert loop.call_later(7, print).when() == 57.0
    finally:
        loop.close()


def test_call_at_that_a_program_puts_in_its_place_hears_of_call_later(loop):
    heard = []
    call_at = loop.call_at

    def hear(*arguments, **keywords):
        heard.append(arguments[1:])
        return call_at(*arguments, **keywords)

    loop.call_at = hear
    loop.call_later(7, print, 1).cancel()
    assert heard == [(print, 1)]
    del loop.call_at
    loop.call_later(7, print, 1).cancel()
    assert len(heard) == 1


@pytest.mark.parametrize("method", METHODS)
def test_signature_is_what_asyncio_documents(method):
    names = list(inspect.signature(getattr(headrace.EventLoop, method)).parameters)
    assert names[-3:] == ["callback", "args", "context"]


def test_handle_that_has_run_and_refers_to_itself_is_collected(loop):
    class Owner:
        def run(self):
            pass

    owner = Owner()
    owner.handle = loop.call_soon(owner.run)
    owner.timer = loop.call_later(0, owner.run)
    gone = weakref.ref(owner)
    run_turns(loop)
    del owner
    gc.collect()
    assert gone() is None


def test_handles_that_come_again_have_forgotten_what_they_were(loop):
    handles = [loop.call_soon(print, number, number) for number in range(600)]
    for handle in handles:
        handle.cancel()
    run_turns(loop)
    del handles, handle
    got = []
    handles = [loop.call_soon(got.append, number) for number in range(600)]
    assert not any(handle.cancelled() for handle in handles)
    assert all(handle._source_traceback is None for handle in handles)
    run_turns(loop)
    assert got == list(range(600))


def test_task_is_asyncios_own_and_knows_its_name_and_context(loop):
    place = contextvars.ContextVar("place")
    context = contextvars.Context()

    async def where():
        return place.get("nowhere")

    async def main():
        context.run(place.set, "given")
        tasks = [
            loop.create_task(where()),
            loop.create_task(where(), name="second"),
            loop.create_task(where(), name="third", context=context),
        ]
        assert {type(task) for task in tasks} == {asyncio.Task}
        assert [task.get_name() for task in tasks[1:]] == ["second", "third"]
        assert all(task in asyncio.all_tasks() for task in tasks)
        return await asyncio.gather(*tasks)

    assert loop.run_until_complete(main()) == ["nowhere", "nowhere", "given"]


def test_task_factory_makes_the_tasks(loop):
    class Task(asyncio.Task):
        pass

    loop.set_task_factory(lambda loop, coro, **keywords: Task(coro, loop=loop, **keywords))

    async def main():
        return type(asyncio.current_task())

    assert loop.run_until_complete(main()) is Task


def test_no_task_is_made_of_what_is_no_coroutine_or_on_a_closed_loop(loop):
    async def never():
        pass

    with pytest.raises(TypeError, match="coroutine"):
        loop.create_task(print)
    loop.close()
    coroutine = never()
    with pytest.raises(RuntimeError, match="closed"):
        loop.create_task(coroutine)
    coroutine.close()


def test_callbacks_that_only_call_others_do_not_ask_the_kernel_in_each_turn():
    """A poll in each turn of 20,000 is a system call in each; time decides how many there are."""
    loop = headrace.new_event_loop("epoll")
    left = 20_000

    def again():
        nonlocal left
        left -= 1
        loop.call_soon(again if left else loop.stop)

    loop.call_soon(again)
    try:
        loop.run_forever()
        counts = loop.statistics()
    finally:
        loop.close()
    assert counts["loop_iterations"] >= 20_000
    assert counts["system_calls"]["epoll_wait"] < 10_000


def test_descriptor_is_seen_while_callbacks_only_call_others(loop):
    near, far = os.pipe()
    seen = []

    def again():
        if not seen:
            loop.call_soon(again)
        else:
            loop.stop()

    def warm(turns):
        if turns:
            loop.call_soon(warm, turns - 1)
        else:
            os.write(far, b"x")
            loop.call_soon(again)

    loop.add_reader(near, lambda: seen.append(os.read(near, 1)))
    loop.call_soon(warm, 1000)
    loop.run_forever()
    assert seen == [b"x"]
    loop.remove_reader(near)
    os.close(near)
    os.close(far)


def test_handle_can_be_referred_to_weakly(loop):
    handles = [loop.call_soon(print), loop.call_later(60, print)]
    references = [weakref.ref(handle) for handle in handles]
    assert [reference() for reference in references] == handles
    for handle in handles:
        handle.cancel()
    run_turns(loop)
    del handles, handle
    gc.collect()
    assert [reference() for reference in references] == [None, None]
