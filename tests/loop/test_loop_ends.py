"""How loops end: closed, forgotten, collected, in hundreds; and what they leave of connections."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import warnings
import weakref

import pytest

import headrace


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
        accepted = asyncio.Event()

        def factory():
            accepted.set()
            return asyncio.Protocol()

        server = await loop.create_server(factory, "127.0.0.1", 0)
        client, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
        await accepted.wait()
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
