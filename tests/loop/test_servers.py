"""Servers: where they listen, how they begin and end, and unix sockets."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import warnings

import pytest
from echoing import Echo, check_echo, serving


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


def test_unix_server_on_a_socket_whose_file_is_gone_serves(run, loop, tmp_path):
    path = tmp_path / "socket"

    async def main():
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        path.unlink()
        server = await loop.create_unix_server(Echo, sock=sock)
        assert server.is_serving()
        server.close()
        await server.wait_closed()

    run(main())


def test_unix_server_on_a_path_that_is_no_socket_says_so(run, loop, tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")

    async def main():
        with pytest.raises(OSError, match="already in use"):
            await loop.create_unix_server(Echo, path)

    run(main())
    assert path.read_text() == "precious"


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


def test_loop_closes_while_a_lost_connection_is_lent_and_its_server_waited_for(
    headrace_loop, headrace_run
):
    """As in sendfile(): the descriptor is in use for longer than the connection lives."""

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport):
            made.set_result(transport)

        def connection_lost(self, error):
            lost.set_result(error)

    async def main():
        server = await headrace_loop.create_server(Accepted, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()):
            transport = await made
            transport._lend()
            waiting = server.wait_closed()
            waiting.send(None).add_done_callback(lambda _: None)
            server.close()
            transport.abort()
            assert await lost is None
        return waiting

    made, lost = headrace_loop.create_future(), headrace_loop.create_future()
    waiting = headrace_run(main())
    headrace_loop.close()
    waiting.close()
