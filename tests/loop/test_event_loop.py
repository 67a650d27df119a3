"""The loop itself: running, stopping, nesting, closing, threads, executors, what is not yet."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import logging
import os
import socket
import threading
import time
import warnings
import weakref

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


@contextlib.contextmanager
def warnings_caught():
    """The texts of the ResourceWarnings of the block and of the collection after it."""
    texts = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
        gc.collect()
    texts += [str(warning.message) for warning in caught]


def test_unclosed_loop_is_a_resource_warning_and_leaks_nothing(model):
    before = sorted(os.listdir("/proc/self/fd"))
    with warnings_caught() as texts:
        loop = headrace.new_event_loop(model)
        loop.run_until_complete(asyncio.sleep(0))
        expected = f"unclosed event loop {loop!r}"
        del loop
    assert expected in texts
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_loop_closed_with_connections_open_warns_and_closes_their_descriptors(model):
    before = sorted(os.listdir("/proc/self/fd"))

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        client, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
        client.write(b"x" * 10_000_000)
        await asyncio.sleep(0)

    with warnings_caught() as texts:
        headrace.run(main(), model=model)
    assert sum("unclosed transport" in text for text in texts) == 2
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_loops_come_and_go_in_hundreds(model):
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(300):
        loop = headrace.new_event_loop(model)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_many_loops_at_once(model):
    loops = [headrace.new_event_loop(model) for _ in range(50)]
    for loop in loops:
        assert loop.run_until_complete(asyncio.sleep(0, loop.model)) == model
    for loop in loops:
        loop.close()


def test_loops_run_side_by_side_in_threads(model):
    async def ping_pong():
        left, right = socket.socketpair()
        loop = asyncio.get_running_loop()
        with left, right:
            left.setblocking(False)
            right.setblocking(False)
            for number in range(200):
                receiving = loop.create_task(loop.sock_recv(right, 100))
                await loop.sock_sendall(left, b"%d" % number)
                assert await receiving == b"%d" % number
        return number

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(headrace.run, ping_pong(), model=model) for _ in range(4)]
        assert [future.result(timeout=30) for future in running] == [199] * 4


def test_loop_made_in_one_thread_runs_in_others_and_here(headrace_loop):
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)

    async def exchange(message):
        loop = asyncio.get_running_loop()
        receiving = loop.create_task(loop.sock_recv(far, 100))
        await asyncio.sleep(0)
        await loop.sock_sendall(near, message)
        return await receiving

    def in_a_thread(message):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            return pool.submit(headrace_loop.run_until_complete, exchange(message)).result(30)

    with near, far:
        assert in_a_thread(b"one") == b"one"
        assert headrace_loop.run_until_complete(exchange(b"two")) == b"two"
        assert in_a_thread(b"three") == b"three"


def test_call_soon_threadsafe_wakes_a_sleeping_loop(loop):
    asleep = threading.Event()
    ran = []

    def call():
        asleep.wait()
        for number in range(1000):
            loop.call_soon_threadsafe(ran.append, number)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=call)
    thread.start()
    loop.call_soon(loop.call_soon, asleep.set)
    loop.run_forever()
    thread.join()
    assert ran == list(range(1000))


def test_call_soon_threadsafe_from_many_threads_loses_none(loop):
    counts = {"ran": 0}

    def count():
        counts["ran"] += 1
        if counts["ran"] == 4000:
            loop.stop()

    def call():
        for _ in range(1000):
            loop.call_soon_threadsafe(count)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert counts["ran"] == 4000


def test_run_coroutine_threadsafe_answers_the_other_thread(loop):
    answers = []

    async def work():
        await asyncio.sleep(0)
        return "answer"

    def ask():
        answers.append(asyncio.run_coroutine_threadsafe(work(), loop).result(30))
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=ask)
    thread.start()
    loop.run_forever()
    thread.join()
    assert answers == ["answer"]


def test_executor_runs_functions_and_hands_on_errors(run, loop):
    async def main():
        assert await loop.run_in_executor(None, threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert await loop.run_in_executor(pool, sum, [1, 2]) == 3
        results = await asyncio.gather(*[asyncio.to_thread(pow, 2, n) for n in range(100)])
        assert results == [2**n for n in range(100)]

    run(main())


def test_getaddrinfo_and_getnameinfo_answer(run, loop):
    async def main():
        found = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert found[0][4] == ("127.0.0.1", 80)
        host, _ = await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
        assert host == "127.0.0.1"
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("name.invalid", 80, flags=socket.AI_NUMERICHOST)

    run(main())


def test_every_callback_runs_in_the_context_it_was_given(run, loop):
    place = contextvars.ContextVar("place", default="nowhere")
    seen = {}

    def see(name):
        seen[name] = place.get()

    async def main():
        done = asyncio.Event()
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
            loop.call_later(0.01, done.set)
            await done.wait()
            loop.remove_reader(near)
            loop.remove_writer(near)

    run(main())
    names = ("soon", "later", "threadsafe", "reader", "writer")
    assert seen == {**{name: name for name in names}, "given": "nowhere"}


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


def test_callback_from_another_thread_is_an_error_in_debug_mode(run, loop):
    loop.set_debug(True)

    async def main():
        with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
            await asyncio.to_thread(loop.call_soon, print)
        with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
            await asyncio.to_thread(loop.call_later, 1, print)
        with pytest.raises(TypeError, match="coroutines cannot be used"):
            loop.call_soon(main)

    run(main())
    loop.set_debug(False)


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
        for delay in (0.003, 0.001, 0.002):
            headrace_loop.call_later(delay, fired.append, delay)
            with pytest.raises(ValueError, match="NaN"):
                getattr(headrace_loop, method)(float("nan"), pytest.fail, "not a time")
        while len(fired) < 3:
            await asyncio.sleep(0.001)
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


def test_closed_loop_that_had_watchers_left_is_freed(make_loop):
    near, far = socket.socketpair()
    with near, far:
        loop = make_loop()
        loop.add_reader(near, loop.stop)
        loop.add_writer(near, loop.stop)
        loop.close()
        freed = weakref.ref(loop)
        del loop
        gc.collect()
        assert freed() is None


def forgotten_after_run(loop):
    loop.run_until_complete(asyncio.sleep(0))


def forgotten_with_callback(loop):
    loop.call_soon(print, loop)


def forgotten_with_timer(loop):
    loop.call_later(1000, print, loop)


def forgotten_with_watchers(loop):
    near, far = socket.socketpair()
    loop.add_reader(near, print, loop, near, far)
    loop.add_writer(near, print, loop)


def forgotten_with_connection(loop):
    async def connect():
        server = await asyncio.start_server(lambda *streams: None, "127.0.0.1", 0)
        reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
        loop.reading = asyncio.ensure_future(reader.read())
        await asyncio.sleep(0)

    loop.run_until_complete(connect())


def forgotten_with_socket(loop):
    near, far = socket.socketpair()
    near.setblocking(False)
    loop.reading = loop.create_task(loop.sock_recv_into(near, bytearray(100)))
    loop.writing = loop.create_task(loop.sock_recv(far, 100))
    far.setblocking(False)
    loop.run_until_complete(asyncio.sleep(0))


@pytest.mark.parametrize(
    "leave",
    [
        forgotten_after_run,
        forgotten_with_callback,
        forgotten_with_timer,
        forgotten_with_watchers,
        forgotten_with_connection,
        forgotten_with_socket,
    ],
)
def test_loop_that_nobody_closed_is_collected_and_says_so(make_loop, leave):
    with warnings_caught() as texts:
        loop = make_loop()
        leave(loop)
        freed = weakref.ref(loop)
        del loop
        gc.collect()
        gc.collect()
        assert freed() is None
    assert "unclosed event loop" in " ".join(texts)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_transport_that_ends_after_its_loop_says_so_and_is_closed(run, loop, how):
    near, far = socket.socketpair()
    with far, warnings_caught():
        transport, _ = run(loop.create_unix_connection(asyncio.Protocol, sock=near))
        loop.close()
        with pytest.raises(RuntimeError, match="closed"):
            getattr(transport, how)()
        del transport, near
        gc.collect()
        far.setblocking(False)
        assert far.recv(100) == b""


def test_loop_that_a_callback_ends_has_sent_what_was_written(run, loop):
    near, far = socket.socketpair()

    def write_and_exit(transport):
        transport.write(b"bye")
        raise SystemExit("meant")

    with far, warnings_caught():
        transport, _ = run(loop.create_unix_connection(asyncio.Protocol, sock=near))
        loop.call_soon(write_and_exit, transport)
        with pytest.raises(SystemExit, match="meant"):
            loop.run_forever()
        loop.close()
        far.setblocking(False)
        assert far.recv(100) == b"bye"
        with contextlib.suppress(RuntimeError):
            transport.abort()
        del transport, near


def test_loop_that_is_collected_with_completions_unread_does_no_harm(model, run_program):
    ended = run_program("collected_with_completions.py", model)
    assert (ended.returncode, ended.stdout) == (0, "alive\n"), ended.stderr


def test_connection_is_lost_before_the_turn_after_close(run, loop):
    class Lost(asyncio.Protocol):
        def connection_lost(self, error):
            seen.append(error)

    async def main(data):
        near, far = socket.socketpair()
        with far:
            transport, _ = await loop.create_connection(Lost, sock=near)
            far.send(b"x")
            await asyncio.sleep(0.01)
            if data:
                transport.write(data)
            transport.close()
            await asyncio.sleep(0)
            assert seen == [None]
            assert transport.get_extra_info("socket").fileno() == -1
            far.setblocking(False)
            assert far.recv(100) == data
            assert data == b"" or far.recv(100) == b""
        seen.clear()

    seen = []
    for data in (b"", b"bye"):
        run(main(data))


def test_connection_that_is_closed_last_is_over_when_the_loop_stops(run, loop):
    class Lost(asyncio.Protocol):
        def connection_lost(self, error):
            seen.append(error)

    async def main():
        transport, _ = await loop.create_connection(Lost, sock=near)
        await asyncio.sleep(0.01)
        transport.write(b"bye")
        transport.close()

    seen = []
    near, far = socket.socketpair()
    with far:
        run(main())
        assert seen == [None]
        far.setblocking(False)
        assert far.recv(100) == b"bye"
        assert far.recv(100) == b""


@pytest.mark.parametrize("number", [int, float])
def test_timer_tells_its_time_as_it_was_given(loop, number):
    """aiohttp rounds long timeouts up to whole seconds, and asks for them."""
    when = number(loop.time() + 1000)
    handle = loop.call_at(when, print)
    assert handle.when() == when
    assert type(handle.when()) is number
    handle.cancel()


def test_loop_that_is_closed_needs_no_garbage_collector(make_loop):
    """anyio's tests look whether anything holds on to the loop of an asyncio.run()."""
    loop = make_loop()
    loop.run_until_complete(loop.run_in_executor(None, int))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    alive = weakref.ref(loop)
    gc.collect()
    gc.disable()
    try:
        del loop
        assert alive() is None
    finally:
        gc.enable()
