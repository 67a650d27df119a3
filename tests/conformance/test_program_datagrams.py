"""asyncio programs with datagrams; stock asyncio runs them too."""

import asyncio
import errno
import os
import socket

import pytest

COUNT = 300


class Collector(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = []
        self.errors = []
        self.lost = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.received.append((data, addr))
        self.changed.set()

    def error_received(self, exc):
        self.errors.append(exc)
        self.changed.set()

    def connection_lost(self, exc):
        self.lost.set_result(exc)

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    async def close(self):
        self.transport.close()
        assert await self.lost is None


class Echo(Collector):
    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def udp(factory=Collector, **arguments):
    loop = asyncio.get_running_loop()
    arguments = arguments or {"local_addr": ("127.0.0.1", 0)}
    transport, protocol = await loop.create_datagram_endpoint(factory, **arguments)
    return transport, protocol


def name_of(transport):
    return transport.get_extra_info("sockname")


def test_echo_answers_each_datagram_to_its_sender(loop):
    async def main():
        server, echo = await udp(Echo)
        clients = [await udp() for _ in range(5)]
        for number in range(20):
            for index, (transport, _) in enumerate(clients):
                transport.sendto(b"%d %d" % (index, number), name_of(server))
        for index, (_, protocol) in enumerate(clients):
            await protocol.until(lambda protocol=protocol: len(protocol.received) == 20)
            assert protocol.received == [
                (b"%d %d" % (index, number), name_of(server)) for number in range(20)
            ]
            await protocol.close()
        await echo.close()

    loop.run_until_complete(main())


def test_ping_pong_between_connected_endpoints_goes_on(loop):
    async def main():
        server, echo = await udp(Echo)
        transport, protocol = await udp(remote_addr=name_of(server))
        for number in range(1, 100):
            transport.sendto(os.urandom(number * 100))
            await protocol.until(lambda number=number: len(protocol.received) == number)
        await protocol.close()
        await echo.close()

    loop.run_until_complete(main())


def test_datagrams_beyond_the_receivers_queue_wait_for_it(loop, sockets):
    async def main():
        far = sockets.unix_datagrams()
        near = sockets.unix_datagrams()
        near.connect(far.getsockname())
        transport, protocol = await udp(sock=near)
        sent = [b"%d" % number for number in range(COUNT)]
        for data in sent:
            transport.sendto(data)
        assert transport.get_write_buffer_size()
        transport.close()
        received = [await loop.sock_recv(far, 100) for _ in sent]
        assert received == sent
        assert await protocol.lost is None

    loop.run_until_complete(main())


def test_errors_of_a_peer_that_is_not_there_do_not_end_the_endpoint(loop, sockets):
    async def main():
        nobody = sockets.udp()
        name = nobody.getsockname()
        nobody.close()
        transport, protocol = await udp(remote_addr=name)
        for count in range(1, 6):
            transport.sendto(b"anybody?")
            await protocol.until(lambda count=count: len(protocol.errors) == count)
        assert {error.errno for error in protocol.errors} == {errno.ECONNREFUSED}
        _, somebody = await udp(Echo, local_addr=name)
        transport.sendto(b"you?")
        await protocol.until(lambda: protocol.received)
        assert protocol.received == [(b"you?", name)]
        await protocol.close()
        await somebody.close()

    loop.run_until_complete(main())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_endpoint_ends_once_whatever_is_under_way(loop, sockets, how):
    async def main():
        far = sockets.unix_datagrams()
        for pause in range(5):
            near = sockets.unix_datagrams()
            near.connect(far.getsockname())
            transport, protocol = await udp(sock=near)
            far.sendto(b"unread", near.getsockname())
            for _ in range(pause):
                await asyncio.sleep(0)
            getattr(transport, how)()
            getattr(transport, how)()
            assert await protocol.lost is None

    loop.run_until_complete(main())


def test_endpoint_paused_and_resumed_at_will_loses_nothing(loop):
    async def main():
        server, protocol = await udp()
        transport, other = await udp()
        for number in range(50):
            transport.sendto(b"%d" % number, name_of(server))
            server.pause_reading() if number % 3 else server.resume_reading()
            await asyncio.sleep(0)
        before = len(protocol.received)
        server.pause_reading()
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(protocol.received) == before
        server.resume_reading()
        await protocol.until(lambda: len(protocol.received) == 50)
        assert [data for data, _ in protocol.received] == [b"%d" % number for number in range(50)]
        await protocol.close()
        await other.close()

    loop.run_until_complete(main())


# sock_*.


@pytest.fixture(params=["udp", "unix_datagrams"])
def pair(request, sockets):
    make = getattr(sockets, request.param)
    return make(), make()


def test_sock_methods_carry_datagrams_with_addresses(loop, pair):
    async def main():
        near, far = pair
        receiving = asyncio.ensure_future(loop.sock_recvfrom(near, 65536))
        await asyncio.sleep(0)
        assert await loop.sock_sendto(far, bytearray(b"there"), near.getsockname()) == 5
        assert await receiving == (b"there", far.getsockname())
        target = bytearray(10)
        receiving = asyncio.ensure_future(loop.sock_recvfrom_into(near, target))
        await asyncio.sleep(0)
        await loop.sock_sendto(far, b"again", near.getsockname())
        assert await receiving == (5, far.getsockname())
        assert target == b"again\0\0\0\0\0"
        await loop.sock_sendto(far, b"cut here", near.getsockname())
        assert await loop.sock_recvfrom_into(near, target, 3) == (3, far.getsockname())
        await loop.sock_sendto(far, b"", near.getsockname())
        assert await loop.sock_recvfrom(near, 10) == (b"", far.getsockname())
        await loop.sock_sendto(far, b"gone", near.getsockname())
        assert await loop.sock_recvfrom(near, 0) == (b"", far.getsockname())

    loop.run_until_complete(main())


def test_sock_recvfrom_cancelled_at_any_moment_loses_no_datagram(loop, pair):
    async def main():
        near, far = pair
        for number in range(30):
            receiving = asyncio.ensure_future(loop.sock_recvfrom(near, 100))
            for _ in range(number % 3):
                await asyncio.sleep(0)
            far.sendto(b"%d" % number, near.getsockname())
            for _ in range(number % 2):
                await asyncio.sleep(0)
            receiving.cancel()
            try:
                data, _ = await receiving
            except asyncio.CancelledError:
                data, _ = await loop.sock_recvfrom(near, 100)
            assert data == b"%d" % number

    loop.run_until_complete(main())


def test_sock_sendto_waits_for_room(loop, sockets):
    async def main():
        near, far = sockets.unix_datagrams(), sockets.unix_datagrams()
        near.connect(far.getsockname())
        sent = [b"%d" % number for number in range(COUNT)]

        async def send():
            for data in sent:
                await loop.sock_sendto(near, data, far.getsockname())

        sending = asyncio.ensure_future(send())
        assert [await loop.sock_recv(far, 100) for _ in sent] == sent
        await sending

    loop.run_until_complete(main())


@pytest.mark.parametrize("size", [-1, 300_000])
def test_sock_recvfrom_with_sizes_out_of_the_ordinary_is_the_socket_modules(loop, pair, size):
    async def main():
        near, far = pair
        far.sendto(b"data", near.getsockname())
        if size < 0:
            with pytest.raises(ValueError, match="negative buffersize"):
                await loop.sock_recvfrom(near, size)
            with pytest.raises(ValueError, match="negative buffersize"):
                await loop.sock_recvfrom_into(near, bytearray(10), size)
        else:
            with pytest.raises(ValueError, match="greater than the length of the buffer"):
                await loop.sock_recvfrom_into(near, bytearray(10), size)
            assert await loop.sock_recvfrom(near, size) == (b"data", far.getsockname())

    loop.run_until_complete(main())


def test_sock_sendto_raises_what_the_socket_module_would(loop, sockets):
    async def main():
        near = sockets.udp()
        with pytest.raises(TypeError):
            await loop.sock_sendto(near, b"data", "no address")
        with pytest.raises(OSError, match="Message too long"):
            await loop.sock_sendto(near, bytes(65_508), near.getsockname())
        with pytest.raises(TypeError):
            await loop.sock_sendto(near, "text", near.getsockname())
        with pytest.raises(socket.gaierror):
            await loop.sock_sendto(near, b"data", ("no host of this name", 9))
        assert await loop.sock_sendto(near, b"named", ("localhost", near.getsockname()[1])) == 5
        assert await loop.sock_recvfrom(near, 10) == (b"named", near.getsockname())

    loop.run_until_complete(main())
