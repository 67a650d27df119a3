"""Large pieces are received where their owner will have them, and no more of them than runs then.

The first large piece of a connection comes by way of a buffer; those after it are received into
the object that data_received() gets, into the buffer of a BufferedProtocol, or into asyncio's
reader.  Whatever a protocol does meanwhile, no byte is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
import sys
import threading
import time
from typing import Any

import pytest

import headrace

LARGE = os.urandom(100_000)
ROOM_BYTES = 120 * 1024
TURN_BYTES = 256 * 1024
SIZES = [1, 500, 16_383, 16_384, 40_000, ROOM_BYTES - 1, ROOM_BYTES, ROOM_BYTES + 1, 400_000]

THREADED = ("blocking", "aio")


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: Any = None
        self.pieces: list[bytes] = []
        self.count = 0
        self.end: Any = None
        self.changed = asyncio.Event()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self.count += len(data)
        self.changed.set()

    def eof_received(self) -> None:
        self.end = "end"
        self.changed.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)
        self.changed.set()

    async def has(self, count: int) -> None:
        while self.count < count:
            assert not self.lost.done()
            self.changed.clear()
            await self.changed.wait()

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


class Buffered(Recorder, asyncio.BufferedProtocol):
    """Its buffer is another one each time; `asked` is called when it is asked for one."""

    size = 50_000
    asked: Any = staticmethod(lambda: None)

    def get_buffer(self, size_hint: int) -> Any:
        self.buffer = bytearray(self.size)
        asked = self.asked()
        return self.buffer if asked is None else asked

    def buffer_updated(self, size: int) -> None:
        self.buffer.append(0)  # which the loop must allow: it holds no view any more
        self.data_received(bytes(self.buffer[:size]))


async def connect(protocol: Any) -> tuple[Any, socket.socket]:
    """A protocol whose pieces are large already, and its peer."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    for sock in (near, far):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    _, made = await loop.create_connection(protocol, sock=near)
    for count in range(1, 4):
        await loop.sock_sendall(far, LARGE)
        await made.has(count * len(LARGE))
    assert made.data == LARGE * 3
    made.pieces.clear()
    made.count = 0
    return made, far


async def end(protocol: Recorder, far: socket.socket) -> None:
    far.close()
    protocol.transport.close()
    await protocol.lost


@pytest.mark.parametrize("kind", [Recorder, Buffered])
def test_pieces_of_all_sizes_come_whole_and_in_order(run, kind):
    async def main():
        loop = asyncio.get_running_loop()
        protocol, far = await connect(kind)
        source = random.Random(7)
        data = source.randbytes(sum(SIZES))
        for _ in range(5):
            source.shuffle(SIZES)
            start = 0
            for size in SIZES:
                await loop.sock_sendall(far, data[start : start + size])
                start += size
                if source.random() < 0.6:
                    await protocol.has(start)
            await protocol.has(len(data))
            assert protocol.data == data
            protocol.pieces.clear()
            protocol.count = 0
        await end(protocol, far)

    run(main())


def test_bytes_keep_no_more_memory_than_they_have(headrace_run):
    async def main():
        protocol, far = await connect(Recorder)
        await asyncio.get_running_loop().sock_sendall(far, LARGE)
        await protocol.has(len(LARGE))
        for piece in protocol.pieces:
            assert type(piece) is bytes
            assert sys.getsizeof(piece) == sys.getsizeof(b"") + len(piece)
            assert piece[:4] == piece[0:4]
            assert hash(piece) == hash(bytes(bytearray(piece)))
        await end(protocol, far)

    headrace_run(main())


@pytest.mark.parametrize("kind", [Recorder, Buffered])
@pytest.mark.parametrize("how", ["end", "reset", "close", "abort"])
def test_connection_of_large_pieces_ends_like_any_other(run, kind, how, reset):
    async def main():
        protocol, far = await connect(kind)
        if how == "end":
            far.shutdown(socket.SHUT_WR)
        elif how == "reset":
            # What nobody has read makes the kernel reset a Unix socket's peer.
            protocol.transport.write(b"x")
            while protocol.transport.get_write_buffer_size():
                await asyncio.sleep(0)
            far.close()
        elif how == "close":
            protocol.transport.close()
        else:
            await asyncio.get_running_loop().sock_sendall(far, LARGE)
            protocol.transport.abort()
        error = await protocol.lost
        assert isinstance(error, ConnectionResetError) if how == "reset" else error is None
        assert protocol.end == ("end" if how == "end" else None)
        far.close()

    run(main())


@pytest.mark.parametrize("kind", [Recorder, Buffered])
def test_pause_between_large_pieces_holds_them(run, kind):
    async def main():
        loop = asyncio.get_running_loop()
        protocol, far = await connect(kind)
        protocol.transport.pause_reading()
        await loop.sock_sendall(far, LARGE)
        await asyncio.sleep(0.01)
        assert protocol.count == 0
        protocol.transport.resume_reading()
        await protocol.has(len(LARGE))
        assert protocol.data == LARGE
        await end(protocol, far)

    run(main())


@pytest.mark.parametrize("what", ["pause", "close", "abort", "other protocol"])
def test_get_buffer_may_do_to_its_connection_what_it_likes(headrace_loop, headrace_run, what):
    if what == "other protocol" and headrace_loop.model in THREADED:
        pytest.skip("a piece that is there already is, as in asyncio, the new protocol's to update")

    async def main():
        loop = asyncio.get_running_loop()
        protocol, far = await connect(Buffered)
        other = Recorder()

        def asked():
            del protocol.asked
            if what == "pause":
                protocol.transport.pause_reading()
                loop.call_later(0.01, protocol.transport.resume_reading)
            elif what == "other protocol":
                protocol.transport.set_protocol(other)
            else:
                getattr(protocol.transport, what)()

        protocol.asked = asked
        await loop.sock_sendall(far, LARGE)
        if what == "pause":
            await protocol.has(len(LARGE))
            assert protocol.data == LARGE
        elif what == "other protocol":
            await other.has(len(LARGE))
            assert other.data == LARGE
            other.transport = protocol.transport
            protocol = other
        await end(protocol, far)

    headrace_run(main())


class MistakeError(Exception):
    pass


def refuse():
    raise MistakeError


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (refuse, MistakeError),
        (lambda: memoryview(b""), RuntimeError),
        (lambda: b"not to be written to", BufferError),
        (lambda: memoryview(bytearray(100))[::2], BufferError),
        (lambda: 1, TypeError),
    ],
)
def test_buffer_that_nothing_can_be_received_into_ends_the_connection(
    headrace_run, complaints, asked, expected
):
    async def main():
        protocol, far = await connect(Buffered)
        protocol.asked = asked
        await asyncio.get_running_loop().sock_sendall(far, LARGE)
        assert isinstance(await protocol.lost, expected)
        far.close()

    headrace_run(main())
    (complaint,) = complaints
    assert complaint["message"] == "Fatal error: protocol.get_buffer() call failed."
    complaints.clear()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["get_buffer", "buffer_updated", "data_received"])
def test_program_may_end_within_the_callback_of_a_large_piece_and_the_loop_go_on(
    headrace_loop, headrace_run, kind, where
):
    made = []

    def interrupt(*_):
        delattr(made[0][0], "asked" if where == "get_buffer" else where)
        raise kind

    async def begin():
        made.append(await connect(Recorder if where == "data_received" else Buffered))
        protocol, far = made[0]
        setattr(protocol, "asked" if where == "get_buffer" else where, interrupt)
        await asyncio.get_running_loop().sock_sendall(far, LARGE)
        await asyncio.sleep(10)

    beginning = headrace_loop.create_task(begin())
    with pytest.raises(kind):
        headrace_loop.run_until_complete(beginning)
    beginning.cancel()

    async def go_on():
        protocol, far = made[0]
        await asyncio.get_running_loop().sock_sendall(far, b"the last")
        while not protocol.data.endswith(b"the last"):
            await protocol.has(protocol.count + 1)
        # What the callback was called with when it raised is its own loss.
        assert (LARGE + b"the last").endswith(protocol.data)
        if where == "get_buffer":
            assert protocol.data == LARGE + b"the last"
        await end(protocol, far)

    headrace_run(go_on())


# Readers.


async def open_streams(streams: Any) -> tuple[Any, Any, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    reader, writer = await streams.open_connection(sock=near, limit=2**20)
    for _ in range(3):
        await asyncio.get_running_loop().sock_sendall(far, LARGE)
        assert await reader.readexactly(len(LARGE)) == LARGE
    return reader, writer, far


@pytest.mark.parametrize("streams", [asyncio, headrace], ids=["asyncio", "headrace"])
def test_reader_gets_pieces_of_all_sizes_with_much_or_nothing_unread(headrace_run, streams):
    async def main():
        loop = asyncio.get_running_loop()
        reader, writer, far = await open_streams(streams)
        source = random.Random(3)
        data = source.randbytes(sum(SIZES) * 4)
        sending = loop.create_task(send_all(far, data, source))
        got = bytearray()
        while len(got) < len(data):
            got += await reader.read(source.choice([10, 1000, 50_000, 2**20]))
        assert got == data
        await sending
        far.close()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    headrace_run(main())


async def send_all(far: socket.socket, data: bytes, source: random.Random) -> None:
    start = 0
    for size in SIZES * 4:
        await asyncio.get_running_loop().sock_sendall(far, data[start : start + size])
        start += size
        if source.random() < 0.5:
            await asyncio.sleep(0)


def test_reader_whose_buffer_somebody_looks_into_is_not_received_into(headrace_run, complaints):
    """Its bytearray cannot grow meanwhile, and that ends the connection, as on asyncio."""

    async def main():
        reader, writer, far = await open_streams(asyncio)
        with memoryview(reader._buffer):
            await asyncio.get_running_loop().sock_sendall(far, LARGE)
            with pytest.raises(BufferError):
                await writer.wait_closed()
        far.close()

    headrace_run(main())
    (complaint,) = complaints
    assert isinstance(complaint["exception"], BufferError)
    complaints.clear()


def test_reader_that_cannot_be_woken_ends_its_connection_alone(headrace_run, complaints, bystander):
    async def main():
        async with bystander():
            reader, writer, far = await open_streams(asyncio)
            reader._waiter = asyncio.get_running_loop().create_future()
            reader._waiter.set_result(None)
            await asyncio.get_running_loop().sock_sendall(far, LARGE)
            with pytest.raises(asyncio.InvalidStateError):
                await writer.wait_closed()
            far.close()

    headrace_run(main())
    (complaint,) = complaints
    assert complaint["message"] == "Fatal error: protocol.data_received() call failed."
    complaints.clear()


# How much at a time.


class Crowd:
    """Many connections to each of which a large piece has come before the loop looks."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.order: list[str] = []
        self.members: list[tuple[Any, socket.socket]] = []
        self.done = 0

    async def gather(self) -> None:
        for _ in range(self.count):
            protocol, far = await connect(Recorder)
            protocol.data_received = lambda data: self.received(data)
            self.members.append((protocol, far))

    def received(self, data: bytes) -> None:
        self.order.append("received")
        self.done += len(data)
        asyncio.get_running_loop().call_soon(self.order.append, "ran")

    def send(self) -> None:
        for _, far in self.members:
            assert far.send(LARGE) == len(LARGE)

    async def wait(self, members: int | None = None) -> None:
        while self.done < (self.count if members is None else members) * len(LARGE):
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def end(self) -> None:
        for protocol, far in self.members:
            await end(protocol, far)

    @property
    def most_at_a_time(self) -> int:
        most = now = 0
        for word in self.order:
            now = now + 1 if word == "received" else 0
            most = max(most, now)
        return most


REACTORS = ("select", "poll", "epoll")


@pytest.mark.parametrize("model", REACTORS)
def test_turn_receives_no_more_than_is_still_in_the_cache_when_its_readers_run(model):
    async def main():
        crowd = Crowd(40)
        await crowd.gather()
        crowd.send()
        await crowd.wait()
        assert crowd.done == 40 * len(LARGE)
        assert crowd.most_at_a_time <= TURN_BYTES // len(LARGE) + 1
        await crowd.end()

    headrace.run(main(), model=model)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("what", ["pause", "close", "abort", "stop"])
def test_connections_that_are_put_off_may_be_paused_and_closed_meanwhile(
    headrace_loop, headrace_run, what, debug
):
    headrace_loop.set_debug(debug)
    crowd = Crowd(20)
    paused: list[Any] = []

    def interfere(data: bytes) -> None:
        crowd.received(data)
        if len(paused) or crowd.done < 2 * len(LARGE):
            return
        for protocol, _ in crowd.members[10:]:
            paused.append(protocol.transport)
            if what == "pause":
                protocol.transport.pause_reading()
            elif what != "stop":
                getattr(protocol.transport, what)()
        if what == "stop":
            headrace_loop.stop()

    async def begin():
        await crowd.gather()
        for protocol, _ in crowd.members:
            protocol.data_received = interfere

    async def go_on():
        if what in ("pause", "stop"):
            while crowd.done < 20 * len(LARGE):
                await asyncio.sleep(0)
                for transport in paused:
                    transport.resume_reading()
        else:
            for protocol, _ in crowd.members[10:]:
                await protocol.lost
        await crowd.end()

    headrace_run(begin())
    crowd.send()
    while what == "stop" and not paused:
        headrace_loop.run_forever()
    headrace_run(go_on())


# As asyncio's, a transport whose loop was closed over it says so.
@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("model", ["epoll", "uring"])
def test_loop_may_be_closed_with_connections_put_off(model):
    """Whoever stops a loop in the middle of a turn need not come back."""
    if model not in [info.name for info in headrace.models() if info.available]:
        pytest.skip("not here")
    loop = headrace.new_event_loop(model)
    crowd = Crowd(20)

    def stop(data: bytes) -> None:
        loop.stop()

    async def begin():
        await crowd.gather()
        for protocol, _ in crowd.members:
            protocol.data_received = stop

    loop.run_until_complete(begin())
    crowd.send()
    loop.run_forever()
    assert len(loop._model.put_off) > 0
    assert loop._callbacks_pending() >= len(loop._model.put_off)
    for protocol, far in crowd.members:
        far.close()
        protocol.transport.abort()
    loop.close()
    assert loop._operations_in_flight() == []
    crowd.members.clear()
    del protocol
    gc.collect()


class Flood:
    """A peer that has always more to send than one turn receives."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
            self.near = socket.create_connection(listening.getsockname())
            self.far, _ = listening.accept()
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
        self.is_over = False
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        with self.near:
            while not self.is_over:
                with contextlib.suppress(OSError):
                    self.near.send(LARGE * 4)


def test_peer_that_never_stops_sending_leaves_the_others_their_turns(headrace_loop, headrace_run):
    async def main():
        flood = Flood()
        loop = headrace_loop
        transport, flooded = await loop.create_connection(Recorder, sock=flood.far)
        begun = asyncio.Event()

        def work(data: bytes) -> None:
            begun.set()
            time.sleep(0.002)  # so that there is always more when it has ended

        flooded.data_received = work
        near, far = socket.socketpair()
        far.setblocking(False)
        _, other = await loop.create_connection(Recorder, sock=near)
        other.data_received = lambda data: other.transport.write(data)
        flood.thread.start()
        try:
            await begun.wait()
            for _ in range(20):
                before = loop.statistics()["loop_iterations"]
                await loop.sock_sendall(far, b"x")
                assert await asyncio.wait_for(loop.sock_recv(far, 10), 5) == b"x"
                assert loop.statistics()["loop_iterations"] - before < 50
        finally:
            flood.is_over = True
            transport.abort()
        await flooded.lost
        await loop.run_in_executor(None, flood.thread.join)
        await end(other, far)

    headrace_run(main())
