"""The loop itself: running, nesting, debugging, contexts, timers, what it says of itself."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import socket
import threading
import time

import pytest

import headrace


def test_run_until_complete_refuses_to_nest(run, loop):
    async def main():
        inner = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_until_complete(inner)
        inner.close()
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_forever()

    run(main())


def test_run_until_complete_refuses_another_running_loop(run, model):
    other = headrace.new_event_loop(model)

    async def main():
        inner = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="Cannot run the event loop while another"):
            other.run_until_complete(inner)
        inner.close()

    headrace.run(main(), model=model)
    other.close()


def test_run_until_complete_of_a_loop_that_stops_says_so(loop):
    loop.call_soon(loop.stop)
    future = loop.create_future()
    with pytest.raises(RuntimeError, match="stopped before Future completed"):
        loop.run_until_complete(future)


def test_run_answers_the_result_and_hands_on_the_error(model):
    async def main(error=None):
        if error:
            raise error
        return asyncio.get_running_loop().model

    assert headrace.run(main(), model=model) == model
    with pytest.raises(LookupError, match="meant"):
        headrace.run(main(LookupError("meant")), model=model)


def test_run_in_debug_mode_makes_a_debugging_loop(model):
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert headrace.run(main(), model=model, debug=True)


def test_closed_loop_refuses_everything(loop):
    loop.close()
    loop.close()
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.run_forever(),
        lambda: loop.run_in_executor(None, print),
        lambda: loop.add_signal_handler(10, print),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    assert loop.is_closed()


def test_running_loop_refuses_to_close(run, loop):
    async def main():
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()

    run(main())


def test_call_later_without_a_delay_is_a_type_error(loop):
    with pytest.raises(TypeError):
        loop.call_later(None, print)
    with pytest.raises(TypeError):
        loop.call_at(None, print)


def test_every_callback_runs_in_the_context_it_was_given(run, loop):
    place = contextvars.ContextVar("place", default="nowhere")
    names = ("soon", "later", "threadsafe", "reader", "writer")
    expected = {**{name: name for name in names}, "given": "nowhere"}
    seen = {}

    def see(name):
        seen[name] = place.get()

    async def main():
        near, far = socket.socketpair()
        with near, far:
            for name, schedule in {
                "soon": lambda: loop.call_soon(see, "soon"),
                "later": lambda: loop.call_later(0, see, "later"),
                "threadsafe": lambda: loop.call_soon_threadsafe(see, "threadsafe"),
                "reader": lambda: loop.add_reader(near, see, "reader"),
                "writer": lambda: loop.add_writer(near, see, "writer"),
            }.items():
                place.set(name)
                schedule()
            place.set("last")
            given = contextvars.Context()
            loop.call_soon(see, "given", context=given)
            far.send(b"x")
            async with asyncio.timeout(10):
                while len(seen) < len(expected):
                    await asyncio.sleep(0.001)
            loop.remove_reader(near)
            loop.remove_writer(near)

    run(main())
    assert seen == expected


def test_protocol_callbacks_share_one_context_of_their_connection(run, loop):
    place = contextvars.ContextVar("place")
    seen = []

    class Placed(asyncio.Protocol):
        def connection_made(self, transport):
            seen.append(place.get())
            self.transport = transport

        def data_received(self, data):
            seen.append(place.get())
            self.transport.close()

        def connection_lost(self, error):
            seen.append(place.get())

    async def main():
        place.set("server")
        server = await loop.create_server(Placed, "127.0.0.1", 0)
        place.set("client")
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())
    assert seen == ["server"] * 3


def test_slow_callback_is_logged_in_debug_mode(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0

    def slow():
        loop.stop()

    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(slow)
        loop.run_forever()
    loop.set_debug(False)
    assert any("slow()" in message and "took" in message for message in caplog.messages)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_slow_protocol_is_named_in_debug_mode(headrace_run, headrace_loop, caplog, kind):
    async def main():
        near, far = socket.socketpair(socket.AF_UNIX, kind)
        protocol = Slow(headrace_loop.create_future())
        if kind == socket.SOCK_STREAM:
            transport, _ = await headrace_loop.create_connection(lambda: protocol, sock=near)
        else:
            transport, _ = await headrace_loop.create_datagram_endpoint(lambda: protocol, sock=near)
        with far:
            far.send(b"x")
            await protocol.received
        transport.close()

    headrace_loop.set_debug(True)
    headrace_loop.slow_callback_duration = 0.0
    with caplog.at_level(logging.WARNING, "asyncio"):
        headrace_run(main())
    headrace_loop.set_debug(False)
    assert any("protocol=<a slow one>" in message for message in caplog.messages)


def test_slow_reader_is_named_in_debug_mode(loop, caplog):
    near, far = socket.socketpair()

    def slow_reader():
        near.recv(1)
        loop.stop()

    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    with near, far, caplog.at_level(logging.WARNING, "asyncio"):
        loop.add_reader(near, slow_reader)
        far.send(b"x")
        loop.run_forever()
        loop.remove_reader(near)
    loop.set_debug(False)
    assert any("slow_reader()" in message and "took" in message for message in caplog.messages)


class Slow(asyncio.Protocol, asyncio.DatagramProtocol):
    """Any callback takes longer than the no time that is granted."""

    def __init__(self, received):
        self.received = received

    def __repr__(self):
        return "<a slow one>"

    def data_received(self, data):
        self.received.set_result(data)

    def datagram_received(self, data, address):
        self.received.set_result(data)


def test_slow_callback_of_a_pipe_is_logged_with_its_descriptor(headrace_loop, headrace_run, caplog):
    received = headrace_loop.create_future()

    class Once(asyncio.Protocol):
        def data_received(self, data):
            received.set_result(data)

    async def main():
        reader, writer = os.pipe()
        transport, _ = await headrace_loop.connect_read_pipe(Once, os.fdopen(reader, "rb", 0))
        await asyncio.sleep(0)
        caplog.clear()
        headrace_loop.slow_callback_duration = 0.0
        os.write(writer, b"data")
        await received
        headrace_loop.slow_callback_duration = 60
        transport.close()
        os.close(writer)
        return f"fd={reader} "

    headrace_loop.set_debug(True)
    with caplog.at_level(logging.WARNING, "asyncio"):
        name = headrace_run(main())
    headrace_loop.set_debug(False)
    slow = [message for message in caplog.messages if "took" in message and "Task" not in message]
    assert slow
    assert all(name in message for message in slow), slow


def test_exception_handler_is_told_what_failed(loop, complaints):
    def fail():
        loop.call_soon(loop.stop)
        raise ValueError("meant")

    handle = loop.call_soon(fail)
    loop.run_forever()
    (context,) = complaints
    assert context["message"].startswith("Exception in callback ")
    assert "fail" in context["message"]
    assert repr(context["exception"]) == "ValueError('meant')"
    assert context["handle"] is handle
    complaints.clear()


def test_exception_handler_that_fails_is_logged_and_the_loop_goes_on(loop, caplog):
    def handler(loop, context):
        raise RuntimeError("the handler itself")

    loop.set_exception_handler(handler)
    loop.call_soon(lambda: 1 // 0)
    loop.call_soon(loop.call_soon, loop.stop)
    with caplog.at_level(logging.ERROR, "asyncio"):
        loop.run_forever()
    assert any("Unhandled error in exception handler" in text for text in caplog.messages)


def test_loop_sleeps_while_it_has_nothing_to_do(headrace_loop, model):
    """Counted, not timed: a waiting loop makes no turns."""
    if model == "nonblocking":
        pytest.skip("nonblocking waits for nobody: it asks again and again")
    before = headrace_loop.statistics()["loop_iterations"]
    threading.Timer(0.05, headrace_loop.call_soon_threadsafe, [headrace_loop.stop]).start()
    headrace_loop.run_forever()
    assert headrace_loop.statistics()["loop_iterations"] - before <= 4


def test_timer_is_never_early(headrace_loop):
    late = []
    for delay in (0.0, 0.0001, 0.001, 0.0015, 0.01):
        deadline = time.monotonic() + delay
        headrace_loop.call_later(
            delay, lambda deadline=deadline: late.append(time.monotonic() - deadline)
        )
    headrace_loop.call_later(0.02, headrace_loop.stop)
    headrace_loop.run_forever()
    assert len(late) == 5
    assert all(lateness > -1e-6 for lateness in late)


def test_repr_shows_the_loops_inner_life(headrace_loop, model):
    assert repr(headrace_loop) == (
        f"<EventLoop model={model!r} running=False closed=False debug=False>"
    )


def test_statistics_count_what_the_loop_did(headrace_run, headrace_loop, bystander):
    async def main():
        async with bystander():
            pass

    before = headrace_loop.statistics()
    headrace_run(main())
    after = headrace_loop.statistics()
    assert set(after) >= {
        "loop_iterations",
        "operations",
        "system_calls",
        "completions",
        "buffer_starvation",
        "completion_overflows",
        "thread_rotations",
    }
    assert after["loop_iterations"] > before["loop_iterations"]
    assert after["completions"] > before["completions"]
    assert after["operations"]["accept"] >= 1
    assert after["operations"]["connect"] >= 1
    assert after["operations"]["receive"] >= 2
    assert after["operations"]["send"] >= 2
    assert sum(after["system_calls"].values()) > 0


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_timer_at_no_number_is_refused_and_the_others_go_on(headrace_run, headrace_loop, method):
    """NaN is neither before nor after anything: it would stand in every other timer's way."""

    async def main():
        fired = []
        now = headrace_loop.time()
        for delay in (0.003, 0.001, 0.002):
            headrace_loop.call_at(now + delay, fired.append, delay)
            with pytest.raises(ValueError, match="NaN"):
                getattr(headrace_loop, method)(float("nan"), pytest.fail, "not a time")
        last = headrace_loop.create_future()
        headrace_loop.call_at(now + 0.004, last.set_result, None)
        await last
        assert fired == [0.001, 0.002, 0.003]

    headrace_run(main())


def test_callback_in_what_is_no_context_is_reported_and_the_loop_goes_on(run, loop, complaints):
    async def main():
        loop.call_soon(pytest.fail, "ran without a context", context=42)
        ran = loop.create_future()
        loop.call_soon(ran.set_result, "ran")
        assert await ran == "ran"

    run(main())
    (complaint,) = complaints
    assert isinstance(complaint["exception"], (TypeError, AttributeError))
    complaints.clear()


@pytest.mark.parametrize("number", [int, float])
def test_timer_tells_its_time_as_it_was_given(loop, number):
    """aiohttp rounds long timeouts up to whole seconds, and asks for them."""
    when = number(loop.time() + 1000)
    handle = loop.call_at(when, print)
    assert handle.when() == when
    assert type(handle.when()) is number
    handle.cancel()
