"""What a task waits for in a native read: to all who look, a future."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket
import sys
import weakref

import pytest

import headrace

TRACE = contextvars.ContextVar("TRACE", default="none")


@pytest.fixture
def read(loop):
    """A reader with nothing in it, and a way to make a task that waits for it."""
    streams = headrace if isinstance(loop, headrace.EventLoop) else asyncio
    reader = streams.StreamReader(loop=loop)

    async def begin(**keywords):
        task = loop.create_task(reader.read(10), **keywords)
        await asyncio.sleep(0)
        return task, task._fut_waiter

    return reader, begin


def test_waiter_is_a_future_to_all_who_ask(run, loop, read):
    reader, begin = read

    async def main():
        task, waiter = await begin()
        assert isinstance(waiter, asyncio.Future)
        assert asyncio.isfuture(waiter)
        assert waiter.get_loop() is loop
        assert waiter._loop is loop
        assert repr(waiter).startswith("<Future pending cb=[")
        assert f"wait_for={waiter!r}" in repr(task)
        assert not waiter.done()
        assert not waiter.cancelled()
        assert len(waiter._callbacks) == 1
        for ask in (waiter.result, waiter.exception):
            with pytest.raises(asyncio.InvalidStateError):
                ask()
        reader.feed_data(b"x")
        assert waiter.done()
        assert waiter.result() is None
        assert waiter.exception() is None
        assert not waiter.cancel()
        with pytest.raises(asyncio.InvalidStateError):
            waiter.set_result(None)
        with pytest.raises(asyncio.InvalidStateError):
            waiter.set_exception(KeyError("x"))
        assert await task == b"x"

    run(main())


def test_native_waiter_is_no_future_that_was_made(headrace_loop, headrace_run):
    async def main():
        reader = headrace.StreamReader()
        task = asyncio.create_task(reader.read(1))
        await asyncio.sleep(0)
        assert type(task._fut_waiter) is not asyncio.Future
        reader.feed_data(b"x")
        await task

    headrace_run(main())


def test_waiter_that_is_cancelled_cancels_its_task_with_the_message(run, loop, read):
    reader, begin = read

    async def main():
        task, waiter = await begin()
        assert task.cancel("why")
        assert waiter.cancelled()
        assert repr(waiter).startswith("<Future cancelled")
        with pytest.raises(asyncio.CancelledError):
            waiter.result()
        with pytest.raises(asyncio.CancelledError):
            waiter.exception()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("why",)
        assert task.cancelling() == 1
        reader.feed_data(b"later")
        assert await reader.read(10) == b"later"

    run(main())


def test_waiting_task_that_takes_its_cancellation_back_reads_on(run, loop, read):
    reader, _ = read

    async def stubborn():
        try:
            return await reader.read(10)
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()
            return await reader.read(10)

    async def main():
        task = loop.create_task(stubborn())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        reader.feed_data(b"x")
        assert await task == b"x"
        assert task.cancelling() == 0

    run(main())


def test_task_cancelled_before_it_waits_does_not_wait(run, loop, read):
    reader, _ = read

    async def reads():
        asyncio.current_task().cancel()
        await reader.read(10)

    async def main():
        with pytest.raises(asyncio.CancelledError):
            await loop.create_task(reads())
        assert reader._waiter is None

    run(main())


@pytest.mark.parametrize("error", [BufferError("x"), BufferError])
def test_waiter_that_fails_raises_where_the_task_waits(run, loop, read, error):
    reader, begin = read

    async def main():
        task, waiter = await begin()
        waiter.set_exception(error)
        assert type(waiter.exception()) is BufferError
        assert "BufferError" in repr(waiter)
        with pytest.raises(BufferError):
            await task
        assert reader._waiter is None

    run(main())


def test_waiter_does_not_fail_with_the_end_of_an_iterator(run, loop, read):
    reader, begin = read

    async def main():
        task, waiter = await begin()
        # Until Python 3.12 it is refused, from then on it becomes another error.
        try:
            waiter.set_exception(StopIteration)
        except TypeError:
            reader.feed_eof()
            assert await task == b""
        else:
            with pytest.raises(RuntimeError, match="StopIteration"):
                await task

    run(main())


def test_callbacks_of_a_waiter_run_in_their_contexts_in_order(run, loop, read):
    reader, begin = read
    seen = []

    def note(name):
        def callback(future):
            seen.append((name, TRACE.get(), future is waiter))

        return callback

    other = contextvars.copy_context()
    other.run(TRACE.set, "other")

    async def main():
        nonlocal waiter
        task, waiter = await begin()
        removed = note("removed")
        waiter.add_done_callback(note("here"))
        waiter.add_done_callback(note("there"), context=other)
        waiter.add_done_callback(removed, context=None)
        assert waiter.remove_done_callback(removed) == 1
        assert waiter.remove_done_callback(removed) == 0
        reader.feed_data(b"x")
        assert seen == []
        await task
        waiter.add_done_callback(note("late"))
        await asyncio.sleep(0)

    waiter = None
    TRACE.set("main")
    run(main())
    assert seen == [("here", "main", True), ("there", "other", True), ("late", "main", True)]
    TRACE.set("none")


def test_callback_taken_back_after_the_wake_is_not_called(run, loop, read):
    """As asyncio's, which has made a handle of it by then: it still is."""
    reader, begin = read
    seen = []

    async def main():
        task, waiter = await begin()
        waiter.add_done_callback(seen.append)
        reader.feed_data(b"x")
        assert waiter.remove_done_callback(seen.append) == 0
        await task
        assert seen == [waiter]

    run(main())


def test_wake_up_that_is_on_its_way_cannot_be_taken_back(run, loop, read):
    reader, begin = read

    async def main():
        task, waiter = await begin()
        ((wake_up, _),) = waiter._callbacks
        reader.feed_data(b"x")
        assert not waiter._callbacks
        assert waiter.remove_done_callback(wake_up) == 0
        assert await task == b"x"

    run(main())


@pytest.mark.parametrize(
    "call", [lambda add: add(), lambda add: add(print, 1), lambda add: add(print, other=1)]
)
def test_callback_of_a_waiter_is_one_argument(run, loop, read, call):
    reader, begin = read

    async def main():
        task, waiter = await begin()
        with pytest.raises(TypeError):
            call(waiter.add_done_callback)
        with pytest.raises(TypeError):
            waiter.get_loop(1)
        reader.feed_data(b"x")
        await task

    run(main())


def test_waiter_can_be_awaited_by_another_task(run, loop, read):
    reader, begin = read

    async def wait(waiter):
        await waiter

    async def main():
        task, waiter = await begin()
        others = [loop.create_task(wait(waiter)) for _ in range(2)]
        await asyncio.sleep(0)
        reader.feed_data(b"x")
        assert await asyncio.gather(task, *others) == [b"x", None, None]
        await waiter

    run(main())


def test_waiter_that_is_sent_to_by_hand_before_its_end_is_refused(headrace_loop, headrace_run):
    async def main():
        reader = headrace.StreamReader()
        reading = reader.read(1)
        assert asyncio.isfuture(reading.send(None))
        with pytest.raises(RuntimeError, match="await wasn't used with future"):
            reading.send(None)
        assert reader._waiter is None
        waiter = reader.read(1)
        iterator = waiter.send(None).__await__()
        next(iterator)
        with pytest.raises(RuntimeError, match="await wasn't used with future"):
            next(iterator)
        waiter.close()

    headrace_run(main())


def test_task_comes_up_in_its_own_context(run, loop, read):
    reader, _ = read

    async def reads():
        TRACE.set("task")
        await reader.read(10)
        return TRACE.get()

    async def main():
        task = loop.create_task(reads())
        await asyncio.sleep(0)
        reader.feed_data(b"x")
        assert await task == "task"
        assert TRACE.get() == "none"

    run(main())


def test_pure_python_task_waits_is_woken_and_cancelled(run, loop, read):
    reader, begin = read

    async def main():
        loop.set_task_factory(
            lambda loop, coro, **keywords: asyncio.tasks._PyTask(coro, loop=loop, **keywords)
        )
        task, _ = await begin()
        reader.feed_data(b"x")
        assert await task == b"x"
        task, _ = await begin()
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await task
        loop.set_task_factory(None)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_eager_task_waits_and_is_woken(run, loop, read):
    reader, _ = read

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        task = loop.create_task(reader.read(10))
        waiter = task._fut_waiter
        assert asyncio.isfuture(waiter)
        reader.feed_data(b"x")
        assert await task == b"x"
        task = loop.create_task(reader.read(10))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        loop.set_task_factory(None)

    run(main())


def test_task_of_another_loop_is_refused(loop):
    streams = headrace if isinstance(loop, headrace.EventLoop) else asyncio
    reader = streams.StreamReader(loop=loop)

    async def main():
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            await asyncio.create_task(reader.read(1))

    asyncio.run(main())


def test_woken_task_that_ends_the_program_ends_the_run(loop, read):
    reader, _ = read

    async def reads():
        await reader.read(10)
        raise KeyboardInterrupt

    async def main():
        nonlocal woken
        woken = loop.create_task(reads())
        await asyncio.sleep(0)
        reader.feed_data(b"x")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    woken = None
    outer = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(outer)
    assert type(woken.exception()) is KeyboardInterrupt
    loop.run_until_complete(outer)


def test_callback_that_fails_is_told(run, loop, read, complaints):
    reader, begin = read

    def fails(_):
        raise KeyError("x")

    async def main():
        task, waiter = await begin()
        # The task's callback is the first: a waiter of no task, to see how the first one fails.
        waiter.add_done_callback(fails)
        reader.feed_data(b"x")
        await task

    run(main())
    assert [type(each["exception"]) for each in complaints] == [KeyError]
    complaints.clear()


def test_first_callback_of_a_native_waiter_that_fails_is_told(
    headrace_loop, headrace_run, complaints
):
    def fails(_):
        raise KeyError("x")

    async def main():
        reader = headrace.StreamReader()
        reading = reader.read(1)
        reading.send(None).add_done_callback(fails)
        reader.feed_data(b"x")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.close()

    headrace_run(main())
    assert [type(each["exception"]) for each in complaints] == [KeyError]
    assert "handle" in complaints[0]
    complaints.clear()


@pytest.mark.parametrize("name", ["create_future", "call_soon"])
def test_method_put_in_the_place_of_the_loops_is_called(headrace_loop, headrace_run, name):
    calls = []
    original = getattr(headrace_loop, name)

    def counting(*arguments, **keywords):
        calls.append(arguments)
        return original(*arguments, **keywords)

    async def main():
        reader = headrace.StreamReader()
        task = asyncio.create_task(reader.read(1))
        await asyncio.sleep(0)
        assert type(task._fut_waiter) is asyncio.Future
        del calls[:]
        reader.feed_data(b"x")
        if name == "call_soon":
            assert len(calls) == 1
        await task
        await asyncio.create_task(reader.read(0))

    setattr(headrace_loop, name, counting)
    headrace_run(main())
    delattr(headrace_loop, name)


def test_loop_of_a_subclass_makes_its_own_futures(model):
    class Loop(headrace.EventLoop):
        made = 0

        def create_future(self):
            self.made += 1
            return super().create_future()

    async def main():
        reader = headrace.StreamReader()
        task = asyncio.create_task(reader.read(1))
        await asyncio.sleep(0)
        made = asyncio.get_running_loop().made
        assert type(task._fut_waiter) is asyncio.Future
        assert made > 0
        reader.feed_data(b"x")
        await task

    with asyncio.Runner(loop_factory=lambda: Loop(model)) as runner:
        runner.run(main())


def test_debug_mode_waits_for_a_future_that_knows_where_it_was_made(headrace_loop, headrace_run):
    async def main():
        headrace_loop.set_debug(True)
        reader = headrace.StreamReader()
        task = asyncio.create_task(reader.read(1))
        await asyncio.sleep(0)
        assert task._fut_waiter._source_traceback
        reader.feed_data(b"x")
        assert await task == b"x"
        headrace_loop.set_debug(False)

    headrace_run(main())


def test_data_for_a_task_of_a_loop_that_is_closed_is_an_error(make_loop):
    loop = make_loop()
    streams = headrace if isinstance(loop, headrace.EventLoop) else asyncio
    reader = streams.StreamReader(loop=loop)

    async def main():
        task = loop.create_task(reader.read(1))
        await asyncio.sleep(0)
        return task

    task = loop.run_until_complete(main())
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        reader.feed_data(b"x")
    task._log_destroy_pending = False
    coroutine = task.get_coro()
    del task
    coroutine.close()


def test_task_that_is_given_up_while_it_waits_is_freed(headrace_loop, headrace_run):
    async def reads(reader):
        await reader.read(1)

    async def main():
        reader = headrace.StreamReader()
        task = asyncio.create_task(reads(reader))
        await asyncio.sleep(0)
        task._log_destroy_pending = False
        gone = weakref.ref(task), weakref.ref(reader)
        del task, reader
        gc.collect()
        assert [each() for each in gone] == [None, None]

    headrace_run(main())


def test_future_of_the_loop_is_asyncios_as_it_is_named_there(headrace_loop, monkeypatch):
    assert type(headrace_loop.create_future()) is asyncio.Future
    assert headrace_loop.create_future().get_loop() is headrace_loop
    monkeypatch.setattr(asyncio.futures, "Future", asyncio.futures._PyFuture)
    assert type(headrace_loop.create_future()) is asyncio.futures._PyFuture


def test_future_of_a_closed_loop_can_be_made_and_keeps_nothing(model):
    loop = headrace.new_event_loop(model)
    loop.create_future()
    loop.close()
    assert loop.create_future().get_loop() is loop
    gone = weakref.ref(loop)
    gc.disable()
    try:
        del loop
        assert gone() is None
    finally:
        gc.enable()


def test_receives_given_up_one_after_another_leave_no_operation(headrace_loop, headrace_run):
    """Their memory is used again, and each of them has an end of its own."""

    async def main():
        left, right = socket.socketpair()
        left.setblocking(False)
        for _ in range(10):
            call = headrace_loop.sock_recv(left, 1)
            call.send(None)
            del call
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        right.send(b"xy")
        assert await headrace_loop.sock_recv(left, 1) == b"x"
        left.close()
        right.close()

    headrace_run(main())


def test_values_of_reads_by_hand_are_each_their_own(headrace_loop, headrace_run):
    async def main():
        reader = headrace.StreamReader()
        reader.feed_data(b"abc" + bytes(100_000))
        stops = []
        for size in (1, 1, 1, 50_000):
            with pytest.raises(StopIteration) as caught:
                next(reader.read(size))
            stops.append(caught.value)
        assert [each.value for each in stops] == [b"a", b"b", b"c", bytes(50_000)]

    headrace_run(main())
