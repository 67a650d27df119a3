"""What only signal-driven I/O can get wrong: full queues, masks, and who owns a descriptor."""

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import pytest

import headrace
from headrace.kernel.real_time_signal import signals_reserved

F_SETOWN_EX = 15
F_GETOWN_EX = 16
F_OWNER_PID = 1
TIMEOUT_S = 60

OVERFLOW = """\
import asyncio, headrace, json, resource
resource.setrlimit(resource.RLIMIT_SIGPENDING, (2, 2))

async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data.upper())
    writer.close()

async def client(address, number):
    reader, writer = await asyncio.open_connection(*address)
    for turn in range(20):
        writer.write(b"%d %d of many\\n" % (number, turn))
        assert await reader.readline() == b"%d %d OF MANY\\n" % (number, turn)
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    await asyncio.gather(*[client(address, number) for number in range(100)])
    server.close()
    await server.wait_closed()
    return asyncio.get_running_loop().statistics()["completion_overflows"]

print(json.dumps(headrace.run(main(), model="signal")))
"""


@pytest.fixture
def loop():
    loop = headrace.new_event_loop("signal")
    yield loop
    loop.close()


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        yield left, right


def owner_of(sock):
    kind_and_pid = fcntl.fcntl(sock, F_GETOWN_EX, bytes(8))
    return int.from_bytes(kind_and_pid[4:], sys.byteorder, signed=True)


def is_asynchronous(sock):
    return bool(fcntl.fcntl(sock, fcntl.F_GETFL) & fcntl.FASYNC)


def test_queue_that_overflows_under_load_loses_no_request():
    done = subprocess.run(
        [sys.executable, "-c", OVERFLOW],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) > 0


def test_thread_blocks_the_signals_only_while_it_runs_the_loop(loop):
    def blocked():
        return signal.pthread_sigmask(signal.SIG_BLOCK, [])

    async def main():
        return blocked()

    before = blocked()
    during = loop.run_until_complete(main())
    assert signal.SIGIO in during
    assert len(during - before) == 2
    assert blocked() == before


def test_signals_that_the_thread_blocked_itself_stay_blocked(loop):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    try:
        loop.run_until_complete(asyncio.sleep(0))
        assert signal.SIGIO in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_child_process_inherits_no_blocked_signal(loop):
    async def main():
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))",
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await child.communicate()
        return output

    assert loop.run_until_complete(main()) == b"[]\n"


def test_descriptor_that_another_loop_owns_is_watched_by_both(loop, pair):
    left, right = pair
    watched, told_other = threading.Event(), threading.Event()

    async def other():
        asyncio.get_running_loop().add_reader(left, told_other.set)
        await asyncio.sleep(0)
        watched.set()
        while not told_other.is_set():
            await asyncio.sleep(0.001)
        asyncio.get_running_loop().remove_reader(left)

    async def main():
        told = asyncio.Event()
        loop.add_reader(left, told.set)
        thread = threading.Thread(target=lambda: headrace.run(other(), model="signal"))
        thread.start()
        await asyncio.to_thread(watched.wait, TIMEOUT_S)
        assert owner_of(left) == threading.get_native_id()
        right.send(b"x")
        await told.wait()
        await asyncio.to_thread(thread.join, TIMEOUT_S)
        loop.remove_reader(left)

    loop.run_until_complete(main())
    assert told_other.is_set()


def test_number_that_is_another_owners_by_now_keeps_its_owner(loop, pair):
    left, right = pair

    async def main():
        loop.add_reader(left.fileno(), print)
        # Closed behind our back, and the number given to what another process is told of.
        os.dup2(right.fileno(), left.fileno())
        fcntl.fcntl(left, F_SETOWN_EX, struct.pack("ii", F_OWNER_PID, os.getppid()))
        loop.remove_reader(left.fileno())

    loop.run_until_complete(main())
    assert owner_of(left) == os.getppid()


def test_connection_costs_one_recv_a_request_also_when_the_loop_runs_again(loop):
    requests = 50
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()

    async def ask(reader):
        for _ in range(requests):
            far.send(b"request")
            assert await reader.readexactly(7) == b"request"
            # Turns in which nothing is there: who doubts that, asks again.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    with far:
        reader, writer = loop.run_until_complete(asyncio.open_connection(sock=near))
        loop.run_until_complete(ask(reader))
        before = loop.statistics()["system_calls"]["recv"]
        loop.run_until_complete(ask(reader))
        assert loop.statistics()["system_calls"]["recv"] - before <= requests + 1
        writer.close()
        loop.run_until_complete(writer.wait_closed())


@pytest.mark.parametrize("removes", [True, False], ids=["removed", "closed"])
def test_descriptor_belongs_to_nobody_afterwards(pair, removes):
    left, _ = pair
    loop = headrace.new_event_loop("signal")

    async def main():
        loop.add_reader(left, print)
        assert owner_of(left) == threading.get_native_id()
        assert is_asynchronous(left)
        if removes:
            loop.remove_reader(left)

    loop.run_until_complete(main())
    loop.close()
    assert owner_of(left) == 0
    assert not is_asynchronous(left)


def test_descriptors_that_send_no_signals_are_watched_all_the_same(loop):
    event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    async def main():
        told = loop.create_future()
        loop.add_reader(event, told.set_result, None)
        loop.call_later(0.01, os.eventfd_write, event, 1)
        await told
        loop.remove_reader(event)

    try:
        loop.run_until_complete(main())
    finally:
        os.close(event)


def test_handler_for_sigio_of_the_program_stays(loop):
    # In a process of its own: the empty handler is installed once in a process.
    program = """
import asyncio, headrace, os, signal
seen = []
signal.signal(signal.SIGIO, lambda *_: seen.append(1))
async def main(): await asyncio.sleep(0)
headrace.run(main(), model="signal")
os.kill(os.getpid(), signal.SIGIO)
print(seen)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.stderr, done.stdout) == ("", "[1]\n")


@contextlib.contextmanager
def no_descriptor_left():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        yield
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_reader_is_told_further_where_a_writer_beside_it_could_not_be_watched(loop, pair):
    """A writer of a Unix socket needs the helper, for which no descriptor is left."""
    left, right = pair

    async def main():
        received = asyncio.Queue()
        loop.add_reader(left, lambda: received.put_nowait(left.recv(10)))
        for message in (b"before", b"after"):
            right.send(message)
            assert await asyncio.wait_for(received.get(), TIMEOUT_S) == message
            with no_descriptor_left(), pytest.raises(OSError, match="Too many open files"):
                loop.add_writer(left, print)
        told = asyncio.Event()
        loop.add_writer(left, told.set)
        await asyncio.wait_for(told.wait(), TIMEOUT_S)
        loop.remove_writer(left)
        loop.remove_reader(left)

    loop.run_until_complete(main())


def test_descriptor_that_sends_no_signals_is_refused_at_once_also_before_the_loop_runs(loop):
    event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        with no_descriptor_left(), pytest.raises(OSError, match="Too many open files"):
            loop.add_reader(event, print)
    finally:
        os.close(event)
    with tempfile.TemporaryFile() as file, pytest.raises(PermissionError):
        loop.add_reader(file, print)


def test_descriptor_that_sends_no_signals_is_watched_from_before_the_loop_runs(loop):
    event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    try:
        loop.add_reader(event, loop.stop)
        with no_descriptor_left():
            loop.call_soon(os.eventfd_write, event, 1)
            loop.run_forever()
        loop.remove_reader(event)
    finally:
        os.close(event)


def test_descriptor_that_cannot_be_watched_when_the_loop_begins_to_run_is_an_error(loop, pair):
    """It is another loop's by then, and for the helper that it needs no descriptor is left."""
    left, right = pair
    complaints, received = [], []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    loop.add_reader(left, lambda: received.append(left.recv(10)) or loop.stop())
    fcntl.fcntl(left, F_SETOWN_EX, struct.pack("ii", F_OWNER_PID, os.getppid()))
    with no_descriptor_left():
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.call_soon(loop.stop)
        loop.run_forever()
    (complaint,) = complaints
    assert complaint["message"] == f"Cannot watch descriptor {left.fileno()}"
    assert complaint["exception"].errno == errno.EMFILE
    # Asked again, it is watched.
    loop.add_reader(left, lambda: received.append(left.recv(10)) or loop.stop())
    right.send(b"hello")
    loop.run_forever()
    loop.remove_reader(left)
    assert received == [b"hello"]


@pytest.mark.parametrize("name", ["signal", "blocking", "aio"])
def test_handler_for_a_signal_that_the_model_needs_is_refused(name):
    loop = headrace.new_event_loop(name)
    try:
        with pytest.raises(RuntimeError, match=f"SIGIO.*needed by the loop's model '{name}'"):
            loop.add_signal_handler(signal.SIGIO, print)
        assert not loop.remove_signal_handler(signal.SIGIO)
    finally:
        loop.close()


@pytest.mark.parametrize("name", ["signal", "blocking", "aio"])
def test_handler_for_a_real_time_signal_that_models_use_is_refused_on_every_model(name):
    headrace.new_event_loop(name).close()
    loop = headrace.new_event_loop("poll")
    try:
        reserved = signals_reserved()
        assert any(name in owner for owner in reserved.values())
        for number, owner in reserved.items():
            with pytest.raises(RuntimeError, match=f"{number} is kept for {owner} of headrace"):
                loop.add_signal_handler(number, print)
        assert min(reserved) > signal.SIGRTMIN
        loop.add_signal_handler(signal.SIGRTMIN, print)
        loop.remove_signal_handler(signal.SIGRTMIN)
    finally:
        loop.close()


def test_sigio_whose_handler_another_loop_has_removed_does_not_end_the_process():
    headrace.new_event_loop("signal").close()
    loop = headrace.new_event_loop("poll")
    loop.add_signal_handler(signal.SIGIO, print)
    loop.remove_signal_handler(signal.SIGIO)
    loop.close()
    headrace.new_event_loop("signal").close()
    os.kill(os.getpid(), signal.SIGIO)
