"""Connecting: by name and by address, on a given socket, and over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl

import pytest
from echoing import Echo, check_echo, serving


def test_connection_to_a_host_name_tries_its_addresses_in_turn(run, loop, monkeypatch):
    """Happy eyeballs: the first address refuses, the second answers."""

    async def main():
        async with serving("127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")

            async def two_addresses(host, *arguments, **options):
                return [(*entry, ("127.0.0.2", port)), (*entry, ("127.0.0.1", port))]

            monkeypatch.setattr(loop, "getaddrinfo", two_addresses)
            await check_echo("name.example", port, happy_eyeballs_delay=0.01)
            await check_echo("name.example", port)

    run(main())


def test_connection_refused_everywhere_names_each_address(run, loop, monkeypatch):
    async def main():
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            entry = (socket.AF_INET, socket.SOCK_STREAM, 6, "")

            async def two_addresses(host, *arguments, **options):
                return [(*entry, ("127.0.0.2", port)), (*entry, ("127.0.0.1", port))]

            monkeypatch.setattr(loop, "getaddrinfo", two_addresses)
            with pytest.raises(OSError, match=r"127\.0\.0\.2") as raised:
                await loop.create_connection(Echo, "name.example", port)
            assert "127.0.0.1" in str(raised.value)

    run(main())


def test_connection_from_a_local_address(run, loop):
    async def main():
        async with serving("127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            transport, _ = await loop.create_connection(
                asyncio.Protocol, *address, local_addr=("127.0.0.3", 0)
            )
            assert transport.get_extra_info("sockname")[0] == "127.0.0.3"
            assert transport.get_extra_info("peername") == address
            assert transport.get_extra_info("socket").getpeername() == address
            assert transport.get_extra_info("nothing", "default") == "default"
            transport.close()

    run(main())


def test_connection_on_a_given_socket(run, loop):
    async def main():
        async with serving("127.0.0.1", 0) as server:
            sock = socket.create_connection(server.sockets[0].getsockname())
            await check_echo(sock=sock)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
                with pytest.raises(ValueError, match="Stream Socket was expected"):
                    await loop.create_connection(Echo, sock=datagrams)
            with pytest.raises(ValueError, match="host and port was not specified"):
                await loop.create_connection(Echo)

    run(main())


def test_cancelled_connect_leaves_nothing_behind(run, loop):
    async def main():
        # A listener whose backlog is full does not answer; a connect to it goes on for ever.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            address = full.getsockname()
            with contextlib.ExitStack() as stack:
                for _ in range(4):
                    sock = stack.enter_context(socket.socket())
                    sock.setblocking(False)
                    sock.connect_ex(address)
                connecting = loop.create_task(loop.create_connection(Echo, *address))
                for _ in range(20):
                    await asyncio.sleep(0)
                connecting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await connecting
        async with serving("127.0.0.1", 0) as server:
            await check_echo(*server.sockets[0].getsockname())

    run(main())


# TLS.


def test_tls_server_and_client_echo(run, server_tls, client_tls):
    async def main():
        async with serving("127.0.0.1", 0, ssl=server_tls) as server:
            address = server.sockets[0].getsockname()
            options = {"ssl": client_tls, "server_hostname": "localhost"}
            await asyncio.gather(*[check_echo(*address, **options) for _ in range(3)])

    run(main())


def test_tls_client_that_does_not_trust_fails_and_the_server_goes_on(
    run, loop, server_tls, client_tls
):
    async def main():
        async with serving("127.0.0.1", 0, ssl=server_tls) as server:
            address = server.sockets[0].getsockname()
            with pytest.raises(ssl.SSLCertVerificationError):
                await loop.create_connection(
                    Echo,
                    *address,
                    ssl=ssl.create_default_context(),
                    server_hostname="localhost",
                )
            await check_echo(*address, ssl=client_tls, server_hostname="localhost")

    run(main())


def test_plain_text_to_a_tls_server_is_that_clients_affair(run, server_tls, client_tls):
    async def main():
        async with serving("127.0.0.1", 0, ssl=server_tls) as server:
            address = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()
            await check_echo(*address, ssl=client_tls, server_hostname="localhost")

    run(main())


def test_start_tls_upgrades_both_ends_of_a_connection(run, loop, server_tls, client_tls):
    class Upgrading(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            assert data == b"STARTTLS"
            self.transport.write(b"OK")
            self.upgrading = loop.create_task(self.upgrade())

        async def upgrade(self):
            echo = Echo()
            transport = await loop.start_tls(self.transport, echo, server_tls, server_side=True)
            echo.connection_made(transport)

    async def main():
        server = await loop.create_server(Upgrading, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS")
        assert await reader.readexactly(2) == b"OK"
        await writer.start_tls(client_tls, server_hostname="localhost")
        message = os.urandom(200_000)
        writer.write(message)
        assert await reader.readexactly(len(message)) == message
        assert writer.get_extra_info("ssl_object").version().startswith("TLS")
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_handshake_that_takes_too_long_is_ended(run, loop, client_tls):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            with pytest.raises(ConnectionAbortedError, match="handshake is taking longer"):
                await loop.create_connection(
                    Echo,
                    *silent.getsockname(),
                    ssl=client_tls,
                    server_hostname="localhost",
                    ssl_handshake_timeout=0.05,
                )

    run(main())
