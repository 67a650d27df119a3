"""Connecting and serving: every way to begin, TLS, and the ends of servers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import sys
import warnings

import pytest

# How long a test blocks its loop for what has been sent already.
BLOCKED_S_MAX = 20


class Echo(asyncio.Protocol):
    transport = None
    early = b""

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.early)

    def data_received(self, data):
        if self.transport is None:
            # After start_tls() the first data may come before its caller has the transport.
            self.early += data
        else:
            self.transport.write(data)


async def check_echo(*address, **options):
    reader, writer = await asyncio.open_connection(*address, **options)
    for message in (b"hello", os.urandom(300_000)):
        writer.write(message)
        await writer.drain()
        assert await reader.readexactly(len(message)) == message
    writer.close()
    await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(*arguments, **options):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, *arguments, **options)
    try:
        yield server
    finally:
        server.close()
        await server.wait_closed()


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


def test_server_on_several_hosts_answers_on_each(run):
    async def main():
        async with serving(["127.0.0.1", "127.0.0.2"], 0) as server:
            assert len(server.sockets) == 2
            for sock in server.sockets:
                await check_echo(*sock.getsockname())

    run(main())


def test_server_on_ipv6(run):
    async def main():
        try:
            async with serving("::1", 0) as server:
                await check_echo(*server.sockets[0].getsockname()[:2])
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")

    run(main())


def test_servers_share_a_port(run):
    async def main():
        async with serving("127.0.0.1", 0, reuse_port=True) as first:
            address = first.sockets[0].getsockname()
            async with serving(*address, reuse_port=True):
                await check_echo(*address)

    run(main())


def test_server_on_a_port_in_use_says_so(run, loop):
    async def main():
        async with serving("127.0.0.1", 0) as server:
            with pytest.raises(OSError, match="address already in use"):
                await loop.create_server(Echo, *server.sockets[0].getsockname())

    run(main())


def test_server_that_is_not_started_accepts_when_it_is(run, loop):
    async def main():
        async with serving("127.0.0.1", 0, start_serving=False) as server:
            assert not server.is_serving()
            with socket.socket() as sock:
                sock.setblocking(False)
                with pytest.raises(ConnectionRefusedError):
                    await loop.sock_connect(sock, server.sockets[0].getsockname())
            await server.start_serving()
            assert server.is_serving()
            await check_echo(*server.sockets[0].getsockname())

    run(main())


def test_serve_forever_ends_when_cancelled_and_closes_the_server(run, loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
        address = server.sockets[0].getsockname()
        forever = loop.create_task(server.serve_forever())
        while not server.is_serving():
            await asyncio.sleep(0)
        await check_echo(*address)
        with pytest.raises(RuntimeError, match="already being awaited"):
            await server.serve_forever()
        forever.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forever
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    run(main())


def test_closed_server_leaves_its_connections(run, loop):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"1")
        assert await reader.readexactly(1) == b"1"
        server.close()
        writer.write(b"2")
        assert await reader.readexactly(1) == b"2"
        waiting = loop.create_task(server.wait_closed())
        await asyncio.sleep(0)
        # Since 3.12 wait_closed() waits for the connections too.
        assert waiting.done() == (sys.version_info < (3, 12))
        writer.close()
        await writer.wait_closed()
        await waiting

    run(main())


def test_closed_listener_refuses_at_once(run):
    async def main():
        for _ in range(20):
            async with serving("127.0.0.1", 0) as server:
                address = server.sockets[0].getsockname()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)

    run(main())


def test_unix_server_echoes_and_takes_over_a_stale_path(run, loop, tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        for _ in range(2):
            server = await loop.create_unix_server(Echo, path)
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()

    run(main())


def test_unix_server_on_a_path_that_cannot_be_looked_at_says_so_and_leaks_nothing(
    run, loop, tmp_path, caplog
):
    async def main():
        with pytest.raises(OSError, match="too long"):
            await loop.create_unix_server(Echo, str(tmp_path / ("x" * 300)))

    run(main())
    assert "Unable to check or remove stale UNIX socket" in caplog.text


def test_unix_server_without_path_and_socket_says_so(run, loop):
    async def main():
        with pytest.raises(ValueError, match="path was not specified, and no sock"):
            await loop.create_unix_server(Echo)

    run(main())


def test_unix_server_on_a_path_that_is_no_socket_says_so(run, loop, tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")

    async def main():
        with pytest.raises(OSError, match="already in use"):
            await loop.create_unix_server(Echo, path)

    run(main())
    assert path.read_text() == "precious"


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


def test_server_closed_by_its_own_factory_closes_the_connection_once(
    headrace_run, headrace_loop, complaints
):
    """The number may be another's by the time of a second close(2)."""
    loop = headrace_loop
    sentinels = []

    def complain(_, context):
        complaints.append(type(context["exception"]))
        sentinels.append(os.open("/dev/null", os.O_RDONLY))

    loop.set_exception_handler(complain)

    async def main():
        def factory():
            server.close()
            return asyncio.Protocol()

        server = await loop.create_server(factory, "127.0.0.1", 0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with socket.socket() as peer:
                peer.setblocking(False)
                await loop.sock_connect(peer, server.sockets[0].getsockname())
                assert await loop.sock_recv(peer, 100) == b""
            gc.collect()
        assert caught == []

    headrace_run(main())
    assert complaints == [AssertionError]
    complaints.clear()
    for fd in sentinels:
        assert os.readlink(f"/proc/self/fd/{fd}") == "/dev/null"
        os.close(fd)


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


def test_unix_server_is_silent_where_blocking_calls_are_looked_for(
    headrace_run, headrace_loop, tmp_path, monkeypatch
):
    """As blockbuster does, which knows asyncio's own create_unix_server() by its file."""

    def refuse(*arguments, **keywords):
        raise AssertionError("a blocking call")

    async def main():
        for _ in range(2):
            with monkeypatch.context() as patch:
                for name in ("stat", "unlink"):
                    patch.setattr(os, name, refuse)
                server = await headrace_loop.create_unix_server(
                    asyncio.Protocol, str(tmp_path / "socket"), cleanup_socket=True
                )
                server.close()
            await server.wait_closed()

    headrace_run(main())
