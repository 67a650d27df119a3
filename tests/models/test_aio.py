"""What only POSIX AIO can get wrong: its signal, its threads, and what it does not tell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import headrace
from headrace.models.aio import Aio

TIMEOUT_S = 60
LATE_SIGNAL = Path(__file__).with_name("late_signal.py")
# So often the model looks for completions that no signal told of.
LOOK_S = 1.0


@pytest.fixture
def loop():
    loop = headrace.new_event_loop("aio")
    yield loop
    loop.close()


def run(loop, main):
    return loop.run_until_complete(asyncio.wait_for(main, TIMEOUT_S))


async def echo_once(loop, message=b"hello"):
    """A connection of which both ends are the loop's: *message* there and back."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    other_reader, other_writer = await asyncio.open_connection(sock=far)
    writer.write(message)
    other_writer.write(await other_reader.readexactly(len(message)))
    answer = await reader.readexactly(len(message))
    for end in (writer, other_writer):
        end.close()
        await end.wait_closed()
    return answer


def test_connections_read_and_write_by_aio_and_leave_no_request(loop):
    async def main():
        for _ in range(100):
            assert await echo_once(loop) == b"hello"

    before = Aio.requests_made()
    run(loop, main())
    calls = loop.statistics()["system_calls"]
    assert calls["pread64"] >= 200  # glibc tries that first
    assert calls["pwrite64"] >= 200
    assert calls["rt_sigqueueinfo"] >= 400
    assert "send" not in calls
    assert loop._model.requests == 0
    # Memory for requests is used again: two connections' worth was enough for all.
    assert Aio.requests_made() - before < 10


def test_idle_connection_has_a_request_under_way(loop):
    async def main():
        near, far = socket.socketpair()
        with far:
            _, writer = await asyncio.open_connection(sock=near)
            while loop._model.requests == 0:
                await asyncio.sleep(0)
            assert loop._model.requests == 1
            writer.close()
            await writer.wait_closed()
            assert loop._model.requests == 0

    run(loop, main())


def blocked_signals():
    return signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_signals_that_a_program_blocks_arrive_in_the_loops_thread(loop):
    """One that takes all signals in a thread of its own blocks them in all others."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        blocked = blocked_signals()
        start = time.monotonic()
        for _ in range(3):
            assert run(loop, echo_once(loop)) == b"hello"
        assert time.monotonic() - start < LOOK_S
        assert blocked_signals() == blocked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_completions_are_found_where_no_signal_arrives(loop):
    """Every thread blocks them, this one after the loop began: they are looked for each second."""

    async def main():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            assert await echo_once(loop) == b"hello"
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    run(loop, main())


def test_time_out_of_a_socket_is_not_taken_for_a_full_queue(loop):
    """A blocking descriptor says EAGAIN then, as glibc says of the queue."""

    async def main():
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 20_000))
        with far:
            reader, writer = await asyncio.open_connection(sock=near)
            await asyncio.sleep(0.1)
            far.send(b"late")
            assert await reader.readexactly(4) == b"late"
            writer.close()
            await writer.wait_closed()

    run(loop, main())


FEW_SIGNALS = """
import asyncio, headrace, resource, socket
resource.setrlimit(resource.RLIMIT_SIGPENDING, ({limit}, {limit}))

async def main():
    ends = []
    for near, far in [socket.socketpair() for _ in range(50)]:
        ends.append((await asyncio.open_connection(sock=near), far))
    for _, far in ends:
        far.send(b"hello")
    for (reader, writer), far in ends:
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()
        far.close()
    assert asyncio.get_running_loop().statistics()["completion_overflows"] == 0

headrace.run(main(), model="aio")
print("ended")
"""


@pytest.mark.parametrize("limit", [0, 1, 20])
def test_no_more_requests_at_once_than_half_of_the_queue_of_signals(limit):
    # Signals that wait for other processes of this user count, too: not three times in a row.
    for _ in range(3):
        ended = subprocess.run(
            [sys.executable, "-c", FEW_SIGNALS.replace("{limit}", str(limit))],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        if (ended.stderr, ended.stdout) == ("", "ended\n"):
            break
    assert ended.stderr == ""
    assert ended.stdout == "ended\n"


NO_SIGNAL_LEFT = """
import headrace, signal
for number in range(signal.SIGRTMIN, signal.SIGRTMAX):
    signal.signal(number, lambda *_: None)
try:
    headrace.new_event_loop("aio")
except headrace.ModelUnavailableError as error:
    print(error)
"""


def test_model_that_gets_no_signal_says_so():
    ended = subprocess.run(
        [sys.executable, "-c", NO_SIGNAL_LEFT], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.returncode == 0
    assert "every real-time signal has a handler already" in ended.stdout
    assert ended.stderr == ""


OVERFLOW = """
import asyncio, errno, headrace, resource, socket

class Ended(asyncio.Protocol):
    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, error):
        self.lost.set_result(error)

async def main():
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    _, protocol = await loop.create_connection(Ended, sock=near)
    other_near, other_far = socket.socketpair()
    _, other = await loop.create_connection(Ended, sock=other_near)
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))
    far.send(b"lost")
    error = await protocol.lost
    assert isinstance(error, OSError) and error.errno == errno.EIO, error
    assert loop.statistics()["completion_overflows"] == 1
    other_far.close()
    await other.lost

headrace.run(main(), model="aio")
print("ended")
"""


def test_connection_whose_completion_finds_a_full_signal_queue_ends_with_an_error():
    """glibc puts the queue's error in the place of the count: the bytes are nobody's any more."""
    ended = subprocess.run(
        [sys.executable, "-c", OVERFLOW], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.stderr == ""
    assert ended.stdout == "ended\n"


FULL_QUEUE = """
import asyncio, errno, headrace, resource, socket, struct, tempfile

class Receiver(asyncio.Protocol):
    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()
        self.received = asyncio.Queue()

    def data_received(self, data):
        self.received.put_nowait(data)

    def connection_lost(self, error):
        self.lost.set_result(error)

def fill_queue():
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))

def set_time_out(sock, option):
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 1000, 0))

async def lend(transport):
    with tempfile.TemporaryFile() as file:
        file.write(b"lent")
        file.flush()
        await asyncio.get_running_loop().sendfile(transport, file)

async def ends_with_error(protocol):
    error = await protocol.lost
    assert isinstance(error, OSError) and error.errno == errno.EIO, error
    assert protocol.received.empty()

async def main():
    near, far = socket.socketpair()
    {before}
    transport, protocol = await asyncio.get_running_loop().create_connection(Receiver, sock=near)
    {then}
    transport.abort()
    await protocol.lost
    far.close()

headrace.run(main(), model="aio")
print("ended")
"""


@pytest.mark.parametrize(
    ("before", "then"),
    [
        pytest.param(
            "set_time_out(near, socket.SO_RCVTIMEO)",
            "fill_queue(); far.send(b'lost'); await ends_with_error(protocol)",
            id="read with a time-out",
        ),
        pytest.param(
            "set_time_out(near, socket.SO_SNDTIMEO)",
            "fill_queue(); transport.write(b'once'); await ends_with_error(protocol);"
            "assert far.recv(100) == b'once'; assert far.recv(100) == b''",
            id="write with a time-out",
        ),
        pytest.param(
            "",
            "await lend(transport);"
            "fill_queue(); far.send(b'lost'); await ends_with_error(protocol)",
            id="read from before it was lent",
        ),
        pytest.param(
            "",
            "await lend(transport); far.send(b'before');"
            "assert await protocol.received.get() == b'before';"
            "transport.pause_reading(); far.send(b'kept'); fill_queue();"
            "transport.resume_reading(); assert await protocol.received.get() == b'kept';"
            "assert far.recv(100) == b'lent'; transport.write(b'once');"
            "assert await asyncio.to_thread(far.recv, 100) == b'once'",
            id="lent",
        ),
    ],
)
def test_no_byte_is_lost_in_silence_where_the_descriptor_may_say_eagain_itself(before, then):
    """glibc says EAGAIN for a full queue, a non-blocking descriptor for nothing there."""
    program = FULL_QUEUE.replace("{before}", before).replace("{then}", then)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S // 4
    )
    assert ended.stderr == ""
    assert ended.stdout == "ended\n"


def test_loop_of_a_forked_child_does_without_the_threads_of_glibc(loop):
    assert run(loop, echo_once(loop)) == b"hello"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            own = headrace.new_event_loop("aio")
            asyncio.set_event_loop(own)
            answer = own.run_until_complete(asyncio.wait_for(echo_once(own), TIMEOUT_S))
            own.close()
            # Requests would never end: glibc counts on threads that stayed with the parent.
            by_workers = "pread64" not in own.statistics()["system_calls"]
            status = 0 if answer == b"hello" and by_workers else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert run(loop, echo_once(loop)) == b"hello"


def test_two_loops_in_two_threads_do_not_take_each_others_completions():
    async def main():
        loop = asyncio.get_running_loop()
        for number in range(200):
            message = b"%d of many" % number
            assert await echo_once(loop, message) == message
        return loop.statistics()["system_calls"]["pread64"]

    async def both():
        return await asyncio.gather(
            asyncio.to_thread(headrace.run, main(), model="aio"),
            asyncio.to_thread(headrace.run, main(), model="aio"),
        )

    assert all(count >= 400 for count in headrace.run(both(), model="aio"))


def test_descriptor_that_is_closed_behind_the_loops_back_frees_its_number(loop):
    """glibc's thread holds the file; the number's next file must not stand behind its read."""

    async def main():
        near, far = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        await asyncio.sleep(0)
        transport.abort()
        await asyncio.sleep(0)
        for _ in range(50):
            assert await echo_once(loop) == b"hello"
        assert far.recv(1) == b""
        far.close()

    run(loop, main())


CLOSED_BEHIND = """
import asyncio, headrace, os, socket

async def main():
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    innocent, friend = socket.socketpair()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
    while not loop._model.requests:
        await asyncio.sleep(0)
    number = near.fileno()
    near.close()
    {then}
    innocent.close(); friend.close()
    # Nothing of it is left that could keep the connection from ending.
    assert await asyncio.to_thread(far.recv, 1) == b""
    far.close()

headrace.run(main(), model="aio")
print("ended")
"""
NUMBER_IS_FREE = "transport.abort(); await asyncio.sleep(0); await asyncio.sleep(0)"
NUMBER_IS_ANOTHERS = """
    os.dup2(innocent.fileno(), number)
    transport.abort()
    await asyncio.sleep(0); await asyncio.sleep(0)
    friend.send(b"hello")
    assert innocent.recv(5) == b"hello"
    innocent.send(b"hello")
    assert friend.recv(5) == b"hello"
    assert os.get_blocking(number)
    os.close(number)
"""


@pytest.mark.parametrize("then", [NUMBER_IS_FREE, NUMBER_IS_ANOTHERS], ids=["free", "another's"])
def test_connection_that_was_closed_behind_the_loops_back_ends_and_no_other_does(then):
    ended = subprocess.run(
        [sys.executable, "-c", CLOSED_BEHIND.replace("{then}", then)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S // 4,
    )
    assert ended.stderr == ""
    assert ended.stdout == "ended\n"


@pytest.mark.parametrize("is_paused", [False, True], ids=["reading", "paused"])
def test_accepted_connection_does_not_get_what_is_read_for_the_old_owner_of_its_number(
    loop, is_paused
):
    complaints = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))

    class Receiver(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.received = asyncio.Queue()
            self.lost = loop.create_future()
            made.put_nowait(self)

        def data_received(self, data):
            self.received.put_nowait(data)

        def connection_lost(self, error):
            self.lost.set_result(error)

    async def main():
        server = await loop.create_server(Receiver, "127.0.0.1", 0)
        near, far = socket.socketpair()
        client = socket.socket()
        old, _ = await loop.create_connection(Receiver, sock=near)
        old_protocol = await made.get()
        while not loop._model.requests:
            await asyncio.sleep(0)
        if is_paused:
            old.pause_reading()
        number = near.fileno()
        near.close()
        client.connect(server.sockets[0].getsockname())
        new = await made.get()
        assert new.transport.get_extra_info("socket").fileno() == number
        await asyncio.sleep(0)
        with contextlib.suppress(BrokenPipeError):
            far.send(b"old")
        client.send(b"new")
        assert await new.received.get() == b"new"
        old.abort()
        await old_protocol.lost
        client.send(b"newer")
        assert await new.received.get() == b"newer"
        assert old_protocol.received.empty()
        new.transport.close()
        await new.lost
        server.close()
        await server.wait_closed()
        client.close()
        far.close()

    made = asyncio.Queue()
    run(loop, main())
    assert complaints == []


@pytest.mark.parametrize("when", ["pushed", "pending"])
def test_late_signal_of_one_loop_hides_no_completion_of_another(when):
    """It names a request that was given back, or is in use again, when its handler runs."""
    ended = subprocess.run(
        [sys.executable, LATE_SIGNAL, when], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.stderr == ""
    assert ended.stdout == "ended\n"
