"""Connections: the same program with asyncio's streams and with ours, on every loop."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
from serving import connected, echo, serving

import headrace

LARGE = os.urandom(1_000_000)


def test_streams_are_ours_on_our_loop_only(run, loop, api):
    async def main():
        made = []

        def note(reader, writer):
            made.extend((reader, writer))
            writer.close()

        async with serving(api, note) as address, connected(api, address) as (reader, writer):
            assert await reader.read() == b""
            made += [reader, writer]
        ours = api is headrace and isinstance(loop, headrace.EventLoop)
        expected = headrace if ours else asyncio
        kinds = [type(each) for each in made]
        assert kinds == [expected.StreamReader, expected.StreamWriter] * 2
        assert isinstance(made[1].transport, asyncio.Transport) or not ours

    run(main())


def test_lines_are_answered_in_order(run, api):
    async def upper(reader, writer):
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def main():
        async with serving(api, upper) as address, connected(api, address) as (reader, writer):
            for line in (b"a\n", b"b" * 5000 + b"\n", b"\n"):
                writer.write(line)
                await writer.drain()
                assert await reader.readline() == line.upper()
            writer.writelines([b"x\ny", b"\nlast"])
            assert await reader.readuntil(b"Y\n") == b"X\nY\n"
            assert writer.can_write_eof()
            writer.write_eof()
            assert await reader.read() == b"LAST"
            assert reader.at_eof()
            assert await reader.readline() == b""

    run(main())


def test_large_data_come_whole_through_a_small_limit(run, api):
    async def main():
        async with serving(api, echo, limit=1000) as address:
            async with connected(api, address, limit=1000) as (reader, writer):

                async def send():
                    writer.write(LARGE)
                    await writer.drain()
                    writer.write_eof()

                sending = asyncio.ensure_future(send())
                assert await reader.readexactly(500_000) == LARGE[:500_000]
                assert await reader.read(-1) == LARGE[500_000:]
                await sending

    run(main())


def test_transport_waits_while_nobody_reads(run, api):
    async def main():
        near, far = socket.socketpair()
        far.setblocking(False)
        with far:
            reader, writer = await api.open_unix_connection(sock=near, limit=1000)
            sent = await send_until_full(far)
            assert reader._paused
            assert len(reader._buffer) > 2000
            received = 0
            while received < sent:
                received += len(await reader.read(100_000))
            assert not reader._paused
            writer.close()
            await writer.wait_closed()

    async def send_until_full(far):
        sent = stuck = 0
        while stuck < 20:
            try:
                sent += far.send(b"x" * 10_000)
                stuck = 0
            except BlockingIOError:
                stuck += 1
            await asyncio.sleep(0.001)
        return sent

    run(main())


def test_drain_waits_for_room(run, api):
    async def main():
        near, far = socket.socketpair()
        far.setblocking(False)
        with far:
            _, writer = await api.open_unix_connection(sock=near)
            writer.transport.set_write_buffer_limits(high=1000)
            writer.write(LARGE)
            draining = asyncio.ensure_future(writer.drain())
            await asyncio.sleep(0.01)
            assert not draining.done()
            received = 0
            while received < len(LARGE):
                received += len(await asyncio.get_running_loop().sock_recv(far, 100_000))
            await draining
            writer.close()
            await writer.wait_closed()

    run(main())


async def write_for_ever(writer):
    while True:
        writer.write(b"x" * 1000)
        await writer.drain()
        await asyncio.sleep(0)


def test_drain_raises_what_has_ended_the_connection(run, api, reset):
    async def main():
        near, far = socket.socketpair()
        reader, writer = await api.open_unix_connection(sock=near)
        far.close()
        assert await reader.read() == b""
        with pytest.raises(ConnectionError):
            await write_for_ever(writer)
        writer.close()
        with pytest.raises(ConnectionError):
            await writer.wait_closed()

    run(main())


def test_reset_is_raised_by_who_waits_and_ever_after(run, api, reset):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            reader, writer = await api.open_connection(*listener.getsockname())
            accepted, _ = listener.accept()
        waiting = asyncio.ensure_future(reader.readline())
        await asyncio.sleep(0)
        reset(accepted)
        with pytest.raises(ConnectionResetError):
            await waiting
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        with pytest.raises(ConnectionResetError):
            await writer.drain()
        assert isinstance(reader.exception(), ConnectionResetError)
        writer.close()
        with pytest.raises(ConnectionResetError):
            await writer.wait_closed()

    run(main())


def test_drain_after_close_raises(run, api):
    async def main():
        async with serving(api, echo) as address, connected(api, address) as (_, writer):
            writer.close()
            assert writer.is_closing()
            with pytest.raises(ConnectionResetError, match="Connection lost"):
                await writer.drain()

    run(main())


def test_callback_that_raises_is_reported_and_its_connection_closed(run, api, complaints):
    async def fail(reader, writer):
        await reader.readline()
        raise ZeroDivisionError("of the callback")

    async def main():
        async with serving(api, fail) as address, connected(api, address) as (reader, writer):
            writer.write(b"\n")
            assert await reader.read() == b""

    run(main())
    [complaint] = complaints
    assert complaint["message"] == "Unhandled exception in client_connected_cb"
    assert isinstance(complaint["exception"], ZeroDivisionError)
    assert complaint["transport"].is_closing()
    complaints.clear()


def test_plain_callback_is_called_with_both(run, api):
    async def main():
        seen = asyncio.get_running_loop().create_future()

        def callback(*streams):
            seen.set_result(streams)

        async with serving(api, callback) as address, connected(api, address) as (_, writer):
            reader, answering = await seen
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            answering.close()
            await answering.wait_closed()

    run(main())


def test_unix_socket_is_served(run, api, tmp_path):
    async def main():
        server = await api.start_unix_server(echo, str(tmp_path / "socket"))
        reader, writer = await api.open_unix_connection(str(tmp_path / "socket"))
        writer.write(LARGE)
        writer.write_eof()
        assert await reader.read() == LARGE
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_tls_from_the_beginning(run, api, server_tls, client_tls):
    async def main():
        async with serving(api, echo, ssl=server_tls) as address:
            options = {"ssl": client_tls, "server_hostname": "localhost"}
            async with connected(api, address, **options) as (reader, writer):
                assert writer.get_extra_info("sslcontext") is client_tls
                writer.write(LARGE)
                await writer.drain()
                assert await reader.readexactly(len(LARGE)) == LARGE

    run(main())


def test_start_tls_on_both_sides(run, api, server_tls, client_tls):
    async def upgrade(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"GO\n")
        await writer.start_tls(server_tls)
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main():
        async with serving(api, upgrade) as address, connected(api, address) as (reader, writer):
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"GO\n"
            await writer.start_tls(client_tls, server_hostname="localhost")
            writer.write(b"secret\n")
            assert await reader.readline() == b"secret\n"
            assert await reader.read() == b""

    run(main())


def test_writer_that_is_forgotten_warns_and_closes(run, api):
    async def main():
        async with serving(api, echo) as address:
            streams = list(await api.open_connection(*address))
            transport = streams[1].transport
            with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
                streams.clear()
            assert transport.is_closing()
            await asyncio.sleep(0)

    run(main())


def test_streams_of_a_pipe(run, loop, api):
    async def main():
        reading, writing = os.pipe()
        reader = api.StreamReader()
        protocol = api.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
        os.write(writing, b"one\ntwo")
        assert await reader.readline() == b"one\n"
        os.close(writing)
        assert await reader.read() == b"two"
        transport.close()
        await asyncio.sleep(0)

    run(main())


def test_plain_asyncio_writer_works_with_our_reader_and_protocol(run, loop):
    async def main():
        near, far = socket.socketpair()
        with far:
            reader = headrace.StreamReader()
            protocol = headrace.StreamReaderProtocol(reader)
            transport, _ = await loop.create_unix_connection(lambda: protocol, sock=near)
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            writer.write(b"hello")
            await writer.drain()
            far.sendall(b"world")
            assert await reader.readexactly(5) == b"world"
            writer.close()
            await writer.wait_closed()

    run(main())
