"""asyncio programs over the loop itself: callbacks, timers, watchers, sock_*, threads, signals."""

import asyncio
import contextvars
import os
import signal
import socket
import threading

import pytest

LARGE = os.urandom(2_000_000)


@pytest.fixture
def run(loop):
    return loop.run_until_complete


async def turns(count=50):
    for _ in range(count):
        await asyncio.sleep(0)


# Callbacks and timers.


def test_callbacks_run_in_order_and_in_the_next_turn(loop, run):
    seen = []

    async def main():
        loop.call_soon(seen.append, 1)
        loop.call_soon(lambda: (seen.append(2), loop.call_soon(seen.append, 4)))
        loop.call_soon(seen.append, 3)
        assert seen == []
        await turns(3)

    run(main())
    assert seen == [1, 2, 3, 4]


def test_timers_fire_in_the_order_of_their_deadlines(loop, run):
    seen = []

    async def main():
        now = loop.time()
        done = loop.create_future()
        for delay in (3, 1, 2, 1):
            loop.call_at(now + delay * 1e-3, seen.append, delay)
        loop.call_at(now + 4e-3, done.set_result, None)
        await done

    run(main())
    assert seen == [1, 1, 2, 3]


def test_timer_is_never_early(loop, run):
    async def main():
        start = loop.time()
        await asyncio.sleep(0.01)
        assert loop.time() - start >= 0.01 - 1e-6

    run(main())


def test_cancelled_callbacks_do_not_run(loop, run):
    async def main():
        handles = [
            loop.call_soon(pytest.fail, "soon"),
            loop.call_later(0.001, pytest.fail, "later"),
            loop.call_at(loop.time(), pytest.fail, "at"),
        ]
        for handle in handles:
            handle.cancel()
            assert handle.cancelled()
        await asyncio.sleep(0.005)

    run(main())


def test_callbacks_run_in_their_context(loop, run):
    variable = contextvars.ContextVar("variable")
    seen = []

    async def main():
        variable.set("outer")
        context = contextvars.copy_context()
        context.run(variable.set, "inner")
        loop.call_soon(lambda: seen.append(variable.get()))
        loop.call_soon(lambda: seen.append(variable.get()), context=context)
        loop.call_later(0, lambda: seen.append(variable.get()))
        await asyncio.sleep(0.001)

    run(main())
    assert seen == ["outer", "inner", "outer"]


def test_callback_that_raises_is_reported_and_the_next_runs(loop, run, errors):
    seen = []

    async def main():
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(seen.append, "next")
        await turns(3)

    run(main())
    assert seen == ["next"]
    assert [type(context["exception"]) for context in errors] == [ZeroDivisionError]
    errors.clear()


def test_keyboard_interrupt_in_a_callback_stops_the_loop_which_can_go_on(loop, run):
    def interrupt():
        raise KeyboardInterrupt

    loop.call_soon(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert run(asyncio.sleep(0, "still runs")) == "still runs"


def test_time_out_cancels_what_waits(loop, run, sockets):
    left, right = sockets.unix_pair()

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(left, 10), 0.005)
        right.send(b"not lost")
        assert await loop.sock_recv(left, 10) == b"not lost"

    run(main())


# Threads and signals.


def test_call_soon_threadsafe_from_many_threads(loop, run):
    seen = []

    async def main():
        done = loop.create_future()

        def note(number):
            seen.append(number)
            if len(seen) == 400:
                done.set_result(None)

        def work(first):
            for number in range(first, first + 100):
                loop.call_soon_threadsafe(note, number)

        threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 400, 100)]
        for thread in threads:
            thread.start()
        await done
        for thread in threads:
            thread.join()

    run(main())
    assert sorted(seen) == list(range(400))


def test_executor_results_come_back(loop, run):
    async def main():
        return await asyncio.gather(
            *(loop.run_in_executor(None, lambda n=n: n * n) for n in range(10))
        )

    assert run(main()) == [n * n for n in range(10)]


def test_signal_handler_runs_in_the_loop(loop, run):
    async def main():
        done = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, done.set_result, "signal")
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await done == "signal"
        assert loop.remove_signal_handler(signal.SIGUSR1)
        assert not loop.remove_signal_handler(signal.SIGUSR1)

    run(main())
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_run_coroutine_threadsafe(loop, run):
    async def work():
        await asyncio.sleep(0)
        return threading.get_ident()

    async def main():
        def call():
            return asyncio.run_coroutine_threadsafe(work(), loop).result()

        return await loop.run_in_executor(None, call)

    assert run(main()) == threading.get_ident()


# Watchers.


def test_reader_is_called_while_data_is_left(loop, run, sockets):
    left, right = sockets.unix_pair()
    calls = []

    async def main():
        loop.add_reader(left, calls.append, 1)
        right.send(b"not drained")
        while len(calls) < 5:
            await asyncio.sleep(0)
        left.recv(100)
        await turns()
        count = len(calls)
        await turns()
        assert len(calls) == count
        right.send(b"again")
        while len(calls) == count:
            await asyncio.sleep(0)
        assert loop.remove_reader(left)
        assert not loop.remove_reader(left)

    run(main())


def test_reader_that_takes_a_byte_at_a_time_gets_all(loop, run, sockets):
    left, right = sockets.tcp_pair()
    taken = []

    async def main():
        loop.add_reader(left, lambda: taken.append(left.recv(1)))
        right.send(b"one by one")
        right.close()
        while not taken or taken[-1]:
            await asyncio.sleep(0)
        loop.remove_reader(left)

    run(main())
    assert b"".join(taken) == b"one by one"


def test_reader_is_replaced(loop, run, sockets):
    left, right = sockets.unix_pair()

    async def main():
        done = loop.create_future()
        loop.add_reader(left, pytest.fail, "the one that was replaced")
        loop.add_reader(left, lambda: done.done() or done.set_result(None))
        right.send(b"x")
        await done
        loop.remove_reader(left)

    run(main())


def test_reader_and_writer_of_one_descriptor(loop, run, sockets):
    left, right = sockets.unix_pair()
    seen = []

    def readable():
        seen.append(left.recv(10))
        loop.remove_reader(left)

    def writable():
        seen.append("writable")
        loop.remove_writer(left)

    async def main():
        loop.add_reader(left, readable)
        loop.add_writer(left, writable)
        while not seen:
            await asyncio.sleep(0)
        assert seen == ["writable"]
        right.send(b"x")
        while len(seen) < 2:
            await asyncio.sleep(0)
        assert seen == ["writable", b"x"]

    run(main())


def test_writer_is_called_when_there_is_room_again(loop, run, sockets):
    left, right = sockets.unix_pair()
    calls = []

    async def main():
        count = 0
        while True:
            try:
                count += left.send(b"x" * 10_000)
            except BlockingIOError:
                break
        loop.add_writer(left, calls.append, 1)
        await turns()
        assert calls == []
        while count:
            count -= len(right.recv(1 << 20))
        while not calls:
            await asyncio.sleep(0)
        loop.remove_writer(left)

    run(main())


def test_reader_removed_in_its_own_callback_is_not_called_again(loop, run, sockets):
    left, right = sockets.unix_pair()
    calls = []

    def once():
        calls.append(1)
        loop.remove_reader(left)

    async def main():
        loop.add_reader(left, once)
        right.send(b"x")
        await turns()
        assert calls == [1]
        loop.add_reader(left, once)
        while len(calls) < 2:
            await asyncio.sleep(0)

    run(main())


def test_reader_removed_by_a_neighbour_is_not_called(loop, run, sockets):
    pairs = [sockets.unix_pair() for _ in range(2)]
    calls = []

    def first_come(number):
        calls.append(number)
        for left, _ in pairs:
            loop.remove_reader(left)

    async def main():
        for number, (left, _) in enumerate(pairs):
            loop.add_reader(left, first_come, number)
        for _, right in pairs:
            right.send(b"x")
        while not calls:
            await asyncio.sleep(0)
        await turns()

    run(main())
    assert len(calls) == 1


def test_reader_of_a_pipe(loop, run):
    reading, writing = os.pipe()

    async def main():
        done = loop.create_future()
        loop.add_reader(reading, lambda: done.done() or done.set_result(os.read(reading, 10)))
        os.write(writing, b"pipe")
        assert await done == b"pipe"
        loop.remove_reader(reading)

    run(main())
    os.close(reading)
    os.close(writing)


def test_number_of_a_closed_socket_is_watched_anew(loop, run, sockets):
    async def main():
        for _ in range(5):
            left, right = socket.socketpair()
            done = loop.create_future()
            loop.add_reader(left, lambda done=done: done.done() or done.set_result(None))
            right.send(b"x")
            await done
            loop.remove_reader(left)
            left.close()
            right.close()

    run(main())


# The sock_* methods.


def test_sock_methods_make_a_conversation(loop, run, sockets):
    listener = sockets.listener()

    async def serve():
        connection, address = await loop.sock_accept(listener)
        assert address == connection.getpeername()
        data = b""
        while piece := await loop.sock_recv(connection, 65536):
            data += piece
        await loop.sock_sendall(connection, data)
        connection.close()

    async def main():
        task = loop.create_task(serve())
        client = sockets.tcp()
        await loop.sock_connect(client, listener.getsockname())
        await loop.sock_sendall(client, LARGE)
        client.shutdown(socket.SHUT_WR)
        received = bytearray(len(LARGE))
        count = 0
        while count < len(LARGE):
            count += await loop.sock_recv_into(client, memoryview(received)[count:])
        assert received == LARGE
        await task

    run(main())


def test_sock_recv_cancelled_loses_no_byte(loop, run, sockets):
    left, right = sockets.unix_pair()

    async def main():
        received = b""
        for number in range(20):
            task = loop.create_task(loop.sock_recv(left, 100))
            await turns(number % 3)
            task.cancel()
            right.send(b"%d " % number)
            try:
                received += await task
            except asyncio.CancelledError:
                received += await loop.sock_recv(left, 100)
        assert received == b"".join(b"%d " % number for number in range(20))

    run(main())


def test_sock_accept_cancelled_loses_no_connection(loop, run, sockets):
    listener = sockets.listener()

    async def main():
        task = loop.create_task(loop.sock_accept(listener))
        await turns(2)
        task.cancel()
        client = sockets.tcp()
        await loop.sock_connect(client, listener.getsockname())
        with pytest.raises(asyncio.CancelledError):
            await task
        connection, _ = await loop.sock_accept(listener)
        connection.close()

    run(main())


def test_sock_connect_refused(loop, run, sockets):
    listener = sockets.listener()
    address = listener.getsockname()
    listener.close()

    async def main():
        with pytest.raises(ConnectionRefusedError, match="Connect call failed"):
            await loop.sock_connect(sockets.tcp(), address)

    run(main())


def test_sock_connect_over_a_unix_path(loop, run, sockets, tmp_path):
    listener = sockets.keep(socket.socket(socket.AF_UNIX))
    listener.bind(str(tmp_path / "socket"))
    listener.listen()

    async def main():
        client = sockets.keep(socket.socket(socket.AF_UNIX))
        await loop.sock_connect(client, str(tmp_path / "socket"))
        connection, _ = await loop.sock_accept(listener)
        await loop.sock_sendall(client, b"x")
        assert await loop.sock_recv(connection, 10) == b"x"
        connection.close()

    run(main())


def test_sock_recv_answers_nothing_at_the_end_of_the_stream(loop, run, sockets):
    left, right = sockets.tcp_pair()
    right.close()
    assert run(loop.sock_recv(left, 10)) == b""


def test_sock_sendall_to_a_peer_that_is_gone_fails(loop, run, sockets):
    left, right = sockets.unix_pair()
    right.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        run(loop.sock_sendall(left, b"x"))


def test_sock_sendfile(loop, run, sockets, tmp_path):
    (tmp_path / "file").write_bytes(LARGE)
    left, right = sockets.tcp_pair()

    async def main():
        with (tmp_path / "file").open("rb") as file:
            sending = loop.create_task(loop.sock_sendfile(left, file, 10, 1_000_000))
            received = b""
            while len(received) < 1_000_000:
                received += await loop.sock_recv(right, 1 << 20)
            assert await sending == 1_000_000
            assert received == LARGE[10:1_000_010]
            assert file.tell() == 1_000_010

    run(main())


def test_getaddrinfo_and_connection_by_name(loop, run):
    async def main():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0)
        port = server.sockets[0].getsockname()[1]
        family = server.sockets[0].family
        reader, writer = await asyncio.open_connection("localhost", port, family=family)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await turns()

    run(main())
