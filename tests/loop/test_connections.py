"""Connections at their edges: what is sent and seen at the end, what a transport says and takes."""

from __future__ import annotations

import asyncio
import socket

import pytest

# How long a test blocks its loop for what has been sent already.
BLOCKED_S_MAX = 20


def test_abort_sends_what_the_kernel_takes_at_once(run, loop):
    async def main():
        near, far = socket.socketpair()
        far.setblocking(False)
        with far:
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=near)
            transport.write(b"bye")
            transport.abort()
            assert await loop.sock_recv(far, 100) == b"bye"
            assert await loop.sock_recv(far, 100) == b""

    run(main())


async def exchange(loop, transport, far):
    """After it, the transport has sent something."""
    transport.write(b"first")
    assert await loop.sock_recv(far, 100) == b"first"


@pytest.mark.prompt  # the send of the exchange has come back
def test_abort_after_an_exchange_sends_what_the_kernel_takes_at_once(run, loop):
    async def main():
        near, far = socket.socketpair()
        far.setblocking(False)
        with far:
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=near)
            await exchange(loop, transport, far)
            transport.write(b"bye")
            transport.write(b" all")
            transport.abort()
            received = b""
            while piece := await loop.sock_recv(far, 100):
                received += piece
            # asyncio has tried each in write().
            assert received == b"bye all"

    run(main())


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_what_one_turn_writes_in_pieces_arrives_in_order(run, loop, pieces):
    async def main():
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        far.setblocking(False)
        with far:
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=near)
            await exchange(loop, transport, far)
            for size in (1, 1000, 30_000):
                written = [bytes([65 + index]) * size for index in range(pieces)]
                for piece in written:
                    transport.write(piece)
                received = b""
                while len(received) < size * pieces:
                    received += await loop.sock_recv(far, 2**20)
                assert received == b"".join(written)
            transport.close()

    run(main())


def test_addresses_are_known_in_and_after_connection_lost(run, loop):
    class Asking(asyncio.Protocol):
        def __init__(self):
            self.answers = []
            self.lost = loop.create_future()

        def ask(self):
            get = self.transport.get_extra_info
            self.answers.append((get("sockname"), get("peername")))

        def connection_made(self, transport):
            self.transport = transport
            self.ask()

        def connection_lost(self, error):
            self.ask()
            self.lost.set_result(None)

    async def main():
        accepted = loop.create_future()

        def factory():
            accepted.set_result(Asking())
            return accepted.result()

        server = await loop.create_server(factory, "127.0.0.1", 0)
        transport, near = await loop.create_connection(Asking, *server.sockets[0].getsockname())
        far = await accepted
        transport.close()
        for asking in (near, far):
            await asking.lost
            await asyncio.sleep(0)
            asking.ask()
            assert None not in asking.answers[0]
            assert asking.answers == [asking.answers[0]] * 3
        assert near.answers[0] == far.answers[0][::-1]
        server.close()

    run(main())


def test_socket_of_a_connection_is_the_same_each_time(run, loop):
    async def main():
        near, far = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        with far:
            sock = transport.get_extra_info("socket")
            assert transport.get_extra_info("socket") is sock
            transport.close()
            await asyncio.sleep(0)
            assert transport.get_extra_info("socket") is sock

    run(main())


@pytest.mark.parametrize("ending", ["close", "abort"])
def test_peer_sees_the_end_of_a_connection_before_what_was_scheduled_after_it(run, loop, ending):
    """anyio's aclose() is abort() and one turn; who then blocks must not wait in vain."""

    class Receiving(asyncio.Protocol):
        def __init__(self):
            self.received = loop.create_future()

        def data_received(self, data):
            self.received.set_result(data)

    async def main():
        near, far = socket.socketpair()
        transport, protocol = await loop.create_connection(Receiving, sock=near)
        with far:
            far.send(b"so that a receive is in flight")
            await protocol.received
            await asyncio.sleep(0)
            getattr(transport, ending)()
            await asyncio.sleep(0)
            far.settimeout(BLOCKED_S_MAX)
            assert far.recv(1) == b""

    run(main())


@pytest.mark.prompt
def test_write_buffer_is_empty_one_turn_after_a_write_that_the_kernel_takes(run, loop):
    """aiohttp reports the progress of an upload by it."""

    async def main():
        near, far = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        with far:
            for size in (1, 4096):
                transport.write(bytes(size))
                await asyncio.sleep(0)
                assert transport.get_write_buffer_size() == 0
            transport.close()

    run(main())


def test_method_of_a_connection_can_be_replaced(run, loop):
    """Programs wrap write(), to count or to fail; aiohttp's tests are some of them."""

    async def main():
        near, far = socket.socketpair()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        written = []
        with far:
            transport.write = written.append
            transport.write(b"for the list")
            del transport.write
            transport.write(b"for the peer")
            transport.note = transport  # a cycle, for the collector
            await asyncio.sleep(0)
            assert far.recv(100) == b"for the peer"
            transport.close()
        assert written == [b"for the list"]

    run(main())


class Paused(asyncio.Protocol):
    """Notes what it is told of flow control."""

    def __init__(self):
        self.told = []

    def pause_writing(self):
        self.told.append("pause")

    def resume_writing(self):
        assert self.told[-1:] == ["pause"]
        self.told.append("resume")


def test_protocol_is_not_told_to_resume_what_another_was_told_to_pause(
    headrace_run, headrace_loop, complaints
):
    """start_tls() puts another protocol in a paused one's place; asyncio tells it all the same."""
    loop = headrace_loop

    async def main():
        near, far = socket.socketpair()
        far.setblocking(False)
        transport, first = await loop.create_connection(Paused, sock=near)
        with far:
            data = bytes(1_000_000)
            transport.write(data)
            assert first.told == ["pause"]
            second = Paused()
            transport.set_protocol(second)
            transport.set_protocol(second)
            received = len(await loop.sock_recv(far, len(data)))
            transport.write(b"x")
            assert second.told == ["pause"], "it has room again, and did not say so"
            while received < len(data) + 1:
                received += len(await loop.sock_recv(far, len(data)))
            while second.told[-1] == "pause":
                await asyncio.sleep(0)
            assert second.told == ["pause", "resume"]
            assert first.told == ["pause"]
            transport.close()

    headrace_run(main())
    assert complaints == []


def test_connection_whose_user_makes_its_socket_non_blocking_loses_nothing(run, loop):
    """As asyncio's is already; a model of ours may have made it blocking."""

    class Collecting(asyncio.Protocol):
        def __init__(self):
            self.received = bytearray()
            self.ended = loop.create_future()

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.get_extra_info("socket").setblocking(False)
            self.received += data

        def connection_lost(self, error):
            self.ended.set_result(error)

    async def main():
        near, far = socket.socketpair()
        ends = [(await loop.create_connection(Collecting, sock=end))[1] for end in (near, far)]
        blocks = [bytes([number]) * 100_000 for number in range(40)]
        for block in blocks:
            for end in ends:
                end.transport.write(block)
                end.transport.get_extra_info("socket").setblocking(False)
            await asyncio.sleep(0)
        while any(len(end.received) < 4_000_000 for end in ends):
            await asyncio.sleep(0.001)
        for end in ends:
            assert end.received == b"".join(blocks)
            end.transport.close()
            await end.ended

    run(main())
