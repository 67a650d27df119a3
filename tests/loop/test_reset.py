"""A peer's RST in every state of a connection: the error arrives once, and nobody else notices."""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile

import pytest

LARGE = b"x" * (8 * 1024 * 1024)


class Recording(asyncio.Protocol):
    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.made = loop.create_future()
        self.lost = loop.create_future()
        self.eof = asyncio.Event()
        self.data = asyncio.Event()
        self.paused = asyncio.Event()
        self.received = b""

    def connection_made(self, transport):
        self.made.set_result(transport)

    def data_received(self, data):
        self.received += data
        self.data.set()

    def eof_received(self):
        self.eof.set()
        return True

    def pause_writing(self):
        self.paused.set()

    def connection_lost(self, error):
        self.lost.set_result(error)


async def accept_one():
    """A connected pair: our protocol, its transport, and the peer's blocking socket."""
    loop = asyncio.get_running_loop()
    protocol = Recording()
    server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
    peer = socket.create_connection(server.sockets[0].getsockname())
    transport = await protocol.made
    server.close()
    return protocol, transport, peer


def test_reset_while_idle_is_connection_lost(run, bystander, reset):
    async def main():
        async with bystander():
            protocol, transport, peer = await accept_one()
            reset(peer)
            assert isinstance(await protocol.lost, ConnectionResetError)
            assert transport.is_closing()
            assert not protocol.eof.is_set()

    run(main())


def test_reset_while_reading_is_paused_shows_after_resume(run, bystander, reset):
    async def main():
        async with bystander():
            protocol, transport, peer = await accept_one()
            transport.pause_reading()
            reset(peer)
        # The bystander has come and gone: the loop has turned many times.
        assert not protocol.data.is_set()
        transport.resume_reading()
        assert isinstance(await protocol.lost, ConnectionResetError)

    run(main())


def test_reset_with_data_while_reading_is_paused_delivers_nothing_while_paused(
    run, bystander, reset
):
    async def main():
        async with bystander():
            protocol, transport, peer = await accept_one()
            transport.pause_reading()
            peer.sendall(b"data")
            reset(peer)
        assert protocol.received == b""
        transport.resume_reading()
        assert isinstance(await protocol.lost, ConnectionResetError)

    run(main())


def test_reset_with_writes_queued_is_connection_lost_and_drops_them(run, bystander, reset):
    async def main():
        async with bystander():
            protocol, transport, peer = await accept_one()
            transport.write(LARGE)
            await protocol.paused.wait()
            reset(peer)
            assert isinstance(await protocol.lost, ConnectionError)
            assert transport.get_write_buffer_size() == 0
            transport.write(b"into the void")

    run(main())


def test_reset_with_writes_queued_while_closing_is_connection_lost(run, bystander, reset):
    async def main():
        async with bystander():
            protocol, transport, peer = await accept_one()
            transport.write(LARGE)
            transport.close()
            reset(peer)
            assert isinstance(await protocol.lost, (ConnectionError, type(None)))

    run(main())


def test_reset_after_our_end_of_stream_is_connection_lost(run, bystander, reset):
    async def main():
        async with bystander():
            protocol, transport, peer = await accept_one()
            transport.write_eof()
            assert peer.recv(100) == b""
            reset(peer)
            assert isinstance(await protocol.lost, ConnectionResetError)

    run(main())


def test_reset_after_the_peers_end_of_stream_shows_at_the_next_write(run, bystander, reset):
    async def main():
        async with bystander():
            protocol, transport, peer = await accept_one()
            peer.shutdown(socket.SHUT_WR)
            await protocol.eof.wait()
            reset(peer)
        transport.write(LARGE)
        assert isinstance(await protocol.lost, ConnectionError)

    run(main())


def test_reset_before_accept_is_a_connection_that_is_lost(run, bystander, reset):
    async def main():
        loop = asyncio.get_running_loop()
        protocols = []

        def factory():
            protocols.append(Recording())
            return protocols[-1]

        async with bystander():
            with socket.create_server(("127.0.0.1", 0)) as listening:
                address = listening.getsockname()
                for _ in range(3):
                    reset(socket.create_connection(address))
                server = await loop.create_server(factory, sock=listening)
                with socket.create_connection(address) as fine:
                    fine.sendall(b"fine")
                    while not (protocols and protocols[-1].received == b"fine"):
                        await asyncio.sleep(0)
                    for protocol in protocols[:-1]:
                        assert isinstance(await protocol.lost, ConnectionResetError)
                    (await protocols[-1].made).close()
                    await protocols[-1].lost
                server.close()
                await server.wait_closed()

    run(main())


def test_reset_during_connect_is_connection_refused(run, bystander):
    """A RST is what a port without a listener answers a SYN with."""

    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                address = unused.getsockname()
                with pytest.raises(ConnectionRefusedError, match=str(address[1])):
                    await loop.create_connection(Recording, *address)
                with socket.socket() as sock:
                    sock.setblocking(False)
                    with pytest.raises(ConnectionRefusedError, match="Connect call failed"):
                        await loop.sock_connect(sock, address)

    run(main())


def test_reset_during_the_servers_handshake_is_that_clients_affair(
    run, bystander, reset, server_tls, client_tls
):
    async def main():
        loop = asyncio.get_running_loop()
        protocols = []

        def factory():
            protocols.append(Recording())
            return protocols[-1]

        async with bystander():
            server = await loop.create_server(factory, "127.0.0.1", 0, ssl=server_tls)
            address = server.sockets[0].getsockname()
            hellos = (b"", b"\x16\x03\x01", client_hello(client_tls))
            for count, hello in enumerate(hellos, 1):
                peer = socket.create_connection(address)
                peer.sendall(hello)
                while len(protocols) < count:
                    await asyncio.sleep(0)
                reset(peer)
            _, writer = await asyncio.open_connection(
                *address, ssl=client_tls, server_hostname="localhost"
            )
            writer.write(b"fine")
            while protocols[-1].received != b"fine":
                await asyncio.sleep(0)
            writer.close()
            await writer.wait_closed()
            await protocols[-1].lost
            assert not any(protocol.made.done() for protocol in protocols[:-1])
            server.close()
            await server.wait_closed()

    run(main())


def client_hello(context: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_reset_during_the_clients_handshake_fails_the_connect(run, bystander, reset, client_tls):
    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            with socket.create_server(("127.0.0.1", 0)) as listening:
                listening.setblocking(False)

                async def accept_and_reset():
                    peer, _ = await loop.sock_accept(listening)
                    assert await loop.sock_recv(peer, 3) == b"\x16\x03\x01"
                    reset(peer)

                resetting = loop.create_task(accept_and_reset())
                with pytest.raises(ConnectionResetError):
                    await loop.create_connection(
                        Recording,
                        *listening.getsockname(),
                        ssl=client_tls,
                        server_hostname="localhost",
                    )
                await resetting

    run(main())


@pytest.mark.parametrize("fallback", [False, True])
def test_reset_during_sendfile_fails_it(run, bystander, reset, fallback):
    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            protocol, transport, peer = await accept_one()
            with tempfile.TemporaryFile() as file:
                file.truncate(1 << 30)
                source = Opaque(file) if fallback else file
                sending = loop.create_task(loop.sendfile(transport, source))
                await readable(peer)
                reset(peer)
                with pytest.raises(ConnectionError):
                    await sending
            transport.abort()
            await protocol.lost

    run(main())


class Opaque:
    """A file without a descriptor, which sendfile(2) cannot take."""

    def __init__(self, file):
        self.read = file.read
        self.readinto = file.readinto
        self.seek = file.seek


def test_reset_during_sock_sendfile_fails_it(run, bystander, reset):
    async def main():
        loop = asyncio.get_running_loop()
        async with bystander():
            sock, peer = tcp_pair()
            sock.setblocking(False)
            with sock, tempfile.TemporaryFile() as file:
                file.truncate(1 << 30)
                sending = loop.create_task(loop.sock_sendfile(sock, file))
                await readable(peer)
                reset(peer)
                with pytest.raises(ConnectionError):
                    await sending

    run(main())


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        return listening.accept()[0], peer


async def readable(sock):
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(sock, event.set)
    await event.wait()
    loop.remove_reader(sock)
