"""Loops that are made, run and closed in several threads, and loops across fork(2)."""

import asyncio
import contextlib
import functools
import gc
import os
import signal
import socket
import threading
import traceback
import warnings

import pytest


@pytest.fixture
def unmanaged(subject):
    """A loop whose end the test itself looks after."""
    loop = subject.make_loop()
    yield loop
    loop.close()


def in_thread(work):
    """Run *work* in another thread; its result, or its exception."""
    outcome = []

    def run():
        try:
            outcome.append((True, work()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    return value


def in_child(work):
    """Run *work* in a forked child; whether it came to its end."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(10)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}"


async def echo_once():
    """A connection there and back: everything a loop does in small."""
    reached = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        writer.write(await reader.readexactly(5))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        reached.set_result(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()
    await writer.wait_closed()
    await reached
    server.close()
    await server.wait_closed()


def test_loop_made_here_runs_in_another_thread(unmanaged):
    in_thread(lambda: unmanaged.run_until_complete(echo_once()))


def test_loop_that_has_run_here_runs_in_another_thread(unmanaged):
    unmanaged.run_until_complete(echo_once())
    in_thread(lambda: unmanaged.run_until_complete(echo_once()))
    unmanaged.run_until_complete(echo_once())


def test_operations_in_flight_move_to_another_thread(unmanaged, sockets):
    left, right = sockets.unix_pair()
    waiting = unmanaged.create_task(unmanaged.sock_recv(left, 10))
    watched, peer = sockets.unix_pair()
    seen = []
    unmanaged.add_reader(watched, lambda: seen.append(watched.recv(10)))
    unmanaged.run_until_complete(asyncio.sleep(0))
    unmanaged.run_until_complete(asyncio.sleep(0))
    right.send(b"moved")
    peer.send(b"watched")

    async def both():
        while not seen:
            await asyncio.sleep(0)
        return await waiting

    assert in_thread(lambda: unmanaged.run_until_complete(both())) == b"moved"
    assert seen == [b"watched"]
    unmanaged.remove_reader(watched)


def test_transport_moves_to_another_thread(unmanaged, sockets):
    left, right = sockets.tcp_pair()
    reader, writer = unmanaged.run_until_complete(asyncio.open_connection(sock=left))
    in_first = unmanaged.create_task(reader.readexactly(4))
    unmanaged.run_until_complete(asyncio.sleep(0))
    right.send(b"data")
    assert in_thread(lambda: unmanaged.run_until_complete(in_first)) == b"data"
    writer.close()
    unmanaged.run_until_complete(writer.wait_closed())


def test_pipe_transport_moves_to_another_thread(unmanaged, pipes):
    read_end, write_end = pipes.pipe()
    reader = asyncio.StreamReader(loop=unmanaged)
    transport, _ = unmanaged.run_until_complete(
        unmanaged.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader, loop=unmanaged), read_end
        )
    )
    in_first = unmanaged.create_task(reader.readexactly(4))
    unmanaged.run_until_complete(asyncio.sleep(0))
    write_end.write(b"data")
    assert in_thread(lambda: unmanaged.run_until_complete(in_first)) == b"data"
    transport.close()
    while not read_end.closed:
        unmanaged.run_until_complete(asyncio.sleep(0))


def test_operations_cancelled_between_two_threads_are_gone(unmanaged, sockets):
    pairs = [sockets.unix_pair() for _ in range(300)]

    def run_turns():
        unmanaged.run_until_complete(asyncio.sleep(0))
        unmanaged.run_until_complete(asyncio.sleep(0))

    for left, _ in pairs:
        unmanaged.add_reader(left, pytest.fail, "a reader that was removed has run")
    in_thread(run_turns)
    for left, right in pairs:
        unmanaged.remove_reader(left)
        right.send(b"x")
    run_turns()
    in_thread(run_turns)


def test_loop_is_closed_in_another_thread_than_it_ran_in(subject, sockets):
    loop = subject.make_loop()
    left, _ = sockets.unix_pair()
    loop.add_reader(left, print)
    in_thread(lambda: loop.run_until_complete(asyncio.sleep(0)))
    loop.close()


def test_call_soon_threadsafe_wakes_a_waiting_loop(unmanaged):
    if getattr(unmanaged, "_model", None) is not None and unmanaged._model.has_own_clock:
        pytest.skip("a clock of its own: waiting for a thread is not waiting there")
    reached = []

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        thread = threading.Thread(
            target=lambda: loop.call_soon_threadsafe(
                lambda: (reached.append(1), done.set_result(1))
            )
        )
        loop.call_soon(thread.start)
        await done
        thread.join()

    unmanaged.run_until_complete(main())
    assert reached == [1]


def test_call_soon_threadsafe_while_the_loop_reads_the_clock_is_not_lost(unmanaged):
    """Between looking for callbacks and waiting stands loop.time(), which may be Python."""
    timer = unmanaged.call_later(3600, print)
    done = unmanaged.create_future()
    time = unmanaged.time
    calls = []

    def time_with_a_call_from_elsewhere():
        if not calls:
            calls.append(1)
            in_thread(lambda: unmanaged.call_soon_threadsafe(done.set_result, "heard"))
        return time()

    async def main():
        unmanaged.time = time_with_a_call_from_elsewhere
        return await done

    assert unmanaged.run_until_complete(main()) == "heard"
    unmanaged.time = time
    timer.cancel()


# Fork.


def skip_unless_forks_are_detected(loop):
    if not hasattr(loop, "_model"):
        pytest.skip("stock asyncio does not protect the parent's epoll instance")


def test_running_loop_refuses_to_go_on_in_a_forked_child(unmanaged):
    skip_unless_forks_are_detected(unmanaged)

    async def fork_in_the_middle():
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)
            return "child"
        _, status = os.waitpid(pid, 0)
        await asyncio.sleep(0)
        return status

    pid = os.getpid()
    try:
        status = unmanaged.run_until_complete(fork_in_the_middle())
    except BaseException as error:
        if os.getpid() != pid:
            os._exit(3 if isinstance(error, RuntimeError) and "forked" in str(error) else 4)
        raise
    if os.getpid() != pid:
        # The child's coroutine came to its end before the loop had to wait again.
        try:
            unmanaged._model.wait(0)
        except RuntimeError as error:
            os._exit(3 if "forked" in str(error) else 4)
        os._exit(5)
    assert os.waitstatus_to_exitcode(status) == 3
    unmanaged.run_until_complete(echo_once())


def test_stopped_loop_runs_in_a_forked_child_and_in_the_parent(unmanaged):
    skip_unless_forks_are_detected(unmanaged)
    unmanaged.run_until_complete(echo_once())
    in_child(lambda: unmanaged.run_until_complete(echo_once()))
    unmanaged.run_until_complete(echo_once())


def test_loop_that_never_ran_runs_in_a_forked_child(unmanaged):
    skip_unless_forks_are_detected(unmanaged)
    in_child(lambda: unmanaged.run_until_complete(echo_once()))
    unmanaged.run_until_complete(echo_once())


def test_parent_is_still_woken_after_the_child_ran_the_loop(unmanaged):
    skip_unless_forks_are_detected(unmanaged)
    unmanaged.run_until_complete(echo_once())
    in_child(lambda: unmanaged.run_until_complete(echo_once()))

    async def main():
        return await asyncio.get_running_loop().run_in_executor(None, lambda: "woken")

    assert unmanaged.run_until_complete(main()) == "woken"
    unmanaged.run_until_complete(unmanaged.shutdown_default_executor())


@pytest.mark.parametrize("what", ["reader", "server", "receive"])
def test_what_a_child_lets_go_of_stays_with_the_parent(unmanaged, sockets, what):
    skip_unless_forks_are_detected(unmanaged)
    left, right = sockets.unix_pair()
    seen = []
    if what == "reader":
        unmanaged.add_reader(left, lambda: seen.append(left.recv(10)))
    elif what == "server":
        server = unmanaged.run_until_complete(
            asyncio.start_server(lambda _, writer: (seen.append(1), writer.close()), "127.0.0.1", 0)
        )
    else:
        task = unmanaged.create_task(unmanaged.sock_recv(left, 10))
        task.add_done_callback(seen.append)
    unmanaged.run_until_complete(asyncio.sleep(0))
    unmanaged.run_until_complete(asyncio.sleep(0))

    def let_go():
        if what == "reader":
            unmanaged.remove_reader(left)
        elif what == "server":
            server.close()
        else:
            task.cancel()
        unmanaged.run_until_complete(asyncio.sleep(0))
        unmanaged.close()

    in_child(let_go)

    async def use_it():
        if what == "server":
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await reader.read()
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()
        else:
            right.send(b"data")
        while not seen:
            await asyncio.sleep(0)

    unmanaged.run_until_complete(use_it())
    unmanaged.remove_reader(left)


def test_operations_in_flight_go_on_in_the_child(unmanaged, sockets):
    skip_unless_forks_are_detected(unmanaged)
    left, right = sockets.unix_pair()
    waiting = unmanaged.create_task(unmanaged.sock_recv(left, 10))
    unmanaged.run_until_complete(asyncio.sleep(0))
    unmanaged.run_until_complete(asyncio.sleep(0))

    def receive():
        right.send(b"to the child")
        assert unmanaged.run_until_complete(waiting) == b"to the chi"

    in_child(receive)
    assert left.recv(10) == b"ld"
    right.send(b"parent")
    assert unmanaged.run_until_complete(waiting) == b"parent"


def test_closing_an_inherited_loop_leaves_the_parent_untouched(unmanaged, sockets):
    skip_unless_forks_are_detected(unmanaged)
    left, right = sockets.unix_pair()
    unmanaged.run_until_complete(echo_once())
    waiting = unmanaged.create_task(unmanaged.sock_recv(left, 10))
    unmanaged.run_until_complete(asyncio.sleep(0))
    in_child(unmanaged.close)
    right.send(b"still here")
    assert unmanaged.run_until_complete(waiting) == b"still here"


def test_listener_made_before_the_fork_serves_in_both(unmanaged):
    """A server made before the fork serves in the child: the prefork pattern."""
    skip_unless_forks_are_detected(unmanaged)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def serve_one():
        server = await asyncio.start_server(lambda _, writer: writer.close(), sock=listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    in_child(lambda: unmanaged.run_until_complete(serve_one()))
    unmanaged.run_until_complete(serve_one())
    listener.close()


def test_loop_runs_in_one_thread_after_another(unmanaged):
    """A thread that has ended may leave its id to the next: they are still two threads."""
    for _ in range(4):
        in_thread(lambda: unmanaged.run_until_complete(echo_once()))


def test_transport_closed_between_two_threads_is_lost_in_the_next(unmanaged, sockets):
    lost = []

    class Losing(asyncio.Protocol):
        def connection_lost(self, error):
            lost.append(error)
            unmanaged.stop()

    left, _ = sockets.unix_pair()

    async def connect():
        transport, _ = await unmanaged.create_unix_connection(Losing, sock=left)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return transport

    transport = in_thread(lambda: unmanaged.run_until_complete(connect()))
    transport.close()
    # No timer is set and nobody calls: connection_lost() alone can end this.
    unmanaged.run_forever()
    assert lost == [None]


def serve_for_one_turn(loop, listening):
    """Leave connections behind that have come, and that the loop has not looked at."""
    clients = []

    def connect_and_stop():
        clients.extend(socket.create_connection(listening.getsockname()) for _ in range(5))
        loop.stop()

    loop.run_until_complete(loop.create_server(asyncio.Protocol, sock=listening))
    loop.run_until_complete(asyncio.sleep(0))
    loop.call_soon(connect_and_stop)
    loop.run_forever()
    return clients


def test_loop_closed_in_another_thread_than_it_ran_in_leaves_no_connection(subject):
    listening = socket.create_server(("127.0.0.1", 0))
    loop = subject.make_loop()
    clients = in_thread(functools.partial(serve_for_one_turn, loop, listening))
    with warnings.catch_warnings():
        # A model may have come so far as to make transports, which nobody closes.
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
        listening.close()
        del loop
        gc.collect()
    for client in clients:
        client.settimeout(10)
        # Whoever waits for an answer is told that there will be none.
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        client.close()


def test_signal_in_a_child_forked_from_a_running_loop_is_the_childs(unmanaged, subject):
    skip_unless_forks_are_detected(unmanaged)
    in_parent = []

    def run_a_loop_of_its_own():
        in_here = []
        loop = subject.make_loop()
        signal.signal(signal.SIGTERM, lambda number, frame: in_here.append(number))

        async def be_told_to_end():
            os.kill(os.getpid(), signal.SIGTERM)
            while not in_here:
                await asyncio.sleep(0)

        loop.run_until_complete(be_told_to_end())
        loop.close()

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, in_parent.append, signal.SIGTERM)
        loop.add_signal_handler(signal.SIGUSR1, done.set_result, None)
        in_child(run_a_loop_of_its_own)
        # What a signal of the child's had left for the parent would be read before this one.
        os.kill(os.getpid(), signal.SIGUSR1)
        await done
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGUSR1)

    unmanaged.run_until_complete(main())
    assert in_parent == []
