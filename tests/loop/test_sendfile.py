"""sendfile: files that shrink, grow, end early or cannot be read, natively and by copying."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest

BLOCK = bytes(range(256)) * 256


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BLOCK * 64)
    with path.open("r+b") as opened:
        yield opened


class CountingReader(asyncio.Protocol):
    """Keeps what arrives; the test reads its length to know how far the sender is."""

    def __init__(self):
        self.received = bytearray()
        self.ended = asyncio.get_running_loop().create_future()
        self.made = asyncio.get_running_loop().create_future()
        self.some = asyncio.Event()

    def connection_made(self, transport):
        self.made.set_result(transport)

    def data_received(self, data):
        self.received += data
        self.some.set()

    def connection_lost(self, error):
        self.ended.set_result(error)


async def connected():
    """A transport to send on, and the protocol at the other end."""
    loop = asyncio.get_running_loop()
    reader = CountingReader()
    server = await loop.create_server(lambda: reader, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    await reader.made
    server.close()
    return transport, reader


class Opaque:
    """A file without a descriptor: asyncio copies it through its own buffer."""

    def __init__(self, file):
        self.seek = file.seek
        self.readinto = file.readinto
        self.read = file.read


class Failing:
    """A file whose disk fails after some good reads."""

    def __init__(self, file, reads, error):
        self.file = file
        self.reads = reads
        self.error = error
        self.seek = file.seek

    def readinto(self, buffer):
        if self.reads == 0:
            raise self.error
        self.reads -= 1
        return self.file.readinto(buffer)


@pytest.mark.parametrize("wrap", [lambda file: file, Opaque], ids=["native", "copied"])
@pytest.mark.parametrize(("offset", "count"), [(0, None), (1, None), (100, 1), (7, 1 << 21)])
def test_sendfile_sends_the_part_asked_for(run, file, wrap, offset, count):
    expected = (BLOCK * 64)[offset : None if count is None else offset + count]

    async def main():
        transport, reader = await connected()
        transport.write(b"before ")
        loop = asyncio.get_running_loop()
        assert await loop.sendfile(transport, wrap(file), offset, count) == len(expected)
        assert file.tell() == offset + len(expected)
        transport.write(b" after")
        transport.close()
        assert await reader.ended is None
        assert reader.received == b"before " + expected + b" after"

    run(main())


@pytest.mark.parametrize("wrap", [lambda file: file, Opaque], ids=["native", "copied"])
def test_sendfile_of_a_file_that_shrinks_ends_at_its_new_end(run, bystander, file, wrap):
    """The disk was cleaned up under us: what is gone is not sent, and nothing hangs."""

    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            transport, reader = await connected()
            receiving = await reader.made
            file.truncate(1 << 30)
            sending = loop.create_task(loop.sendfile(transport, wrap(file)))
            await reader.some.wait()
            receiving.pause_reading()
            file.truncate(len(BLOCK))
            receiving.resume_reading()
            sent = await sending
            transport.close()
            assert await reader.ended is None
            assert len(BLOCK) <= sent == len(reader.received) < 1 << 30

    run(main())


def test_sock_sendfile_of_a_file_that_shrinks_ends_at_its_new_end(run, bystander, file):
    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            near, far = socket.socketpair()
            with near, far:
                near.setblocking(False)
                far.setblocking(False)
                file.truncate(1 << 30)
                sending = loop.create_task(loop.sock_sendfile(near, file))
                received = len(await loop.sock_recv(far, 1000))
                file.truncate(len(BLOCK))
                sending.add_done_callback(lambda _: near.shutdown(socket.SHUT_WR))
                while data := await loop.sock_recv(far, 1 << 20):
                    received += len(data)
                assert len(BLOCK) <= await sending == received < 1 << 30

    run(main())


@pytest.mark.parametrize("reads", [0, 2])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.ESTALE])
def test_sendfile_from_a_failing_disk_raises_its_error(run, bystander, file, reads, number):
    error = OSError(number, "the disk says no")

    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            transport, reader = await connected()
            with pytest.raises(OSError, match="the disk says no") as raised:
                await loop.sendfile(transport, Failing(file, reads, error))
            assert raised.value is error
            # The connection is as good as before: what to do now is the caller's decision.
            transport.write(b"sorry")
            transport.close()
            assert await reader.ended is None
            assert reader.received.endswith(b"sorry")

    run(main())


def test_sendfile_from_a_closed_file_raises_and_leaves_the_connection(run, bystander, file):
    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            transport, reader = await connected()
            file.close()
            with pytest.raises(ValueError, match="closed"):
                await loop.sendfile(transport, file)
            transport.write(b"sorry")
            transport.close()
            assert await reader.ended is None
            assert reader.received == b"sorry"

    run(main())


def test_sendfile_from_a_device_copies_what_sendfile_cannot(run):
    async def main():
        loop = asyncio.get_running_loop()
        transport, reader = await connected()
        with open("/dev/zero", "rb") as zero:
            assert await loop.sendfile(transport, zero, 0, 100_000) == 100_000
        transport.close()
        assert await reader.ended is None
        assert reader.received == bytes(100_000)

    run(main())


def test_sendfile_on_a_closing_transport_raises(run, file):
    async def main():
        loop = asyncio.get_running_loop()
        transport, reader = await connected()
        transport.close()
        with pytest.raises(RuntimeError, match="closing"):
            await loop.sendfile(transport, file)
        await reader.ended

    run(main())


def test_sendfile_that_is_cancelled_leaves_a_usable_loop(run, bystander, file):
    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            transport, reader = await connected()
            (await reader.made).pause_reading()
            file.truncate(1 << 30)
            sending = loop.create_task(loop.sendfile(transport, file))
            for _ in range(10):
                await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            transport.abort()
            (await reader.made).resume_reading()
            await reader.ended

    run(main())


async def under_way(file):
    """A sendfile that waits for its peer: the sending task, its transport, and the reader."""
    loop = asyncio.get_running_loop()
    transport, reader = await connected()
    file.truncate(1 << 30)
    sending = loop.create_task(loop.sendfile(transport, file))
    await reader.some.wait()
    (await reader.made).pause_reading()
    for _ in range(10):
        await asyncio.sleep(0)
    return sending, transport, reader


def receive_nowait(sock):
    try:
        return sock.recv(1000)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("how", ["abort", "close"])
def test_sendfile_on_a_transport_that_is_closed_meanwhile_fails(
    headrace_run, headrace_loop, bystander, file, how
):
    async def main():
        async with bystander():
            sending, transport, reader = await under_way(file)
            getattr(transport, how)()
            with pytest.raises(ConnectionError):
                await sending
            (await reader.made).resume_reading()
            await reader.ended
            assert len(reader.received) < 1 << 30

    headrace_run(main())


@pytest.mark.parametrize("how", ["abort", "close"])
def test_sendfile_on_a_transport_that_is_closed_meanwhile_sends_nothing_to_its_successor(
    headrace_run, headrace_loop, file, how
):
    """The next connection has the same number, and its peer is nobody's business but its own."""

    async def main():
        sending, transport, reader = await under_way(file)
        number = transport.get_extra_info("socket").fileno()
        getattr(transport, how)()
        for _ in range(20):
            await asyncio.sleep(0)
        near, far = socket.socketpair()
        taken = None
        if number not in (near.fileno(), far.fileno()):
            taken = os.dup2(near.fileno(), number, inheritable=False)
        elif number == far.fileno():
            near, far = far, near
        far.setblocking(False)
        (await reader.made).resume_reading()
        await reader.ended
        for _ in range(20):
            await asyncio.sleep(0)
            assert receive_nowait(far) == b""
        with pytest.raises(ConnectionError):
            await sending
        if taken is not None:
            os.close(taken)
        near.close()
        far.close()

    headrace_run(main())


@pytest.mark.parametrize("wrap", [lambda file: file, Opaque], ids=["native", "copied"])
def test_sendfile_that_waits_for_earlier_data_fails_when_the_peer_resets(
    headrace_run, headrace_loop, bystander, reset, file, wrap
):
    async def main():
        loop = headrace_loop
        async with bystander():
            lost = loop.create_future()

            class Sender(asyncio.Protocol):
                def connection_lost(self, error):
                    lost.set_result(error)

            with socket.create_server(("127.0.0.1", 0)) as listening:
                transport, _ = await loop.create_connection(Sender, *listening.getsockname())
                peer, _ = listening.accept()
            transport.write(bytes(50_000_000))
            sending = loop.create_task(loop.sendfile(transport, wrap(file)))
            for _ in range(10):
                await asyncio.sleep(0)
            assert transport.get_write_buffer_size() > 0
            reset(peer)
            with pytest.raises(ConnectionError):
                await sending
            await lost

    headrace_run(main())


def test_sendfile_that_is_cancelled_twice_leaves_a_connection_that_can_end(run, loop, file):
    async def main():
        near, far = socket.socketpair()
        with far:
            transport, reader = await loop.create_connection(CountingReader, sock=near)
            sending = loop.create_task(loop.sendfile(transport, file))
            await asyncio.sleep(0.01)
            for _ in range(3):
                sending.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await sending
            transport.abort()
            await reader.ended

    run(main())


def test_sendfile_on_an_accepted_connection_works_in_debug_mode(run, loop, file):
    async def main():
        made = loop.create_future()

        class Sending(asyncio.Protocol):
            def connection_made(self, transport):
                made.set_result(transport)

        server = await loop.create_server(Sending, "127.0.0.1", 0)
        _, reader = await loop.create_connection(CountingReader, *server.sockets[0].getsockname())
        transport = await made
        assert transport.get_extra_info("socket").gettimeout() == 0
        assert await loop.sendfile(transport, file) == len(BLOCK) * 64
        transport.close()
        assert await reader.ended is None
        assert reader.received == BLOCK * 64
        server.close()

    loop.set_debug(True)
    loop.slow_callback_duration = 60
    run(main())
