"""asyncio programs over plain sockets: the sock_* methods, and names looked up."""

import asyncio
import socket

import pytest
from program import LARGE, turns


def test_sock_methods_make_a_conversation(loop, run, sockets):
    listener = sockets.listener()

    async def serve():
        connection, address = await loop.sock_accept(listener)
        assert address == connection.getpeername()
        data = b""
        while piece := await loop.sock_recv(connection, 65536):
            data += piece
        await loop.sock_sendall(connection, data)
        connection.close()

    async def main():
        task = loop.create_task(serve())
        client = sockets.tcp()
        await loop.sock_connect(client, listener.getsockname())
        await loop.sock_sendall(client, LARGE)
        client.shutdown(socket.SHUT_WR)
        received = bytearray(len(LARGE))
        count = 0
        while count < len(LARGE):
            count += await loop.sock_recv_into(client, memoryview(received)[count:])
        assert received == LARGE
        await task

    run(main())


def test_sock_recv_cancelled_loses_no_byte(loop, run, sockets):
    left, right = sockets.unix_pair()

    async def main():
        received = b""
        for number in range(20):
            task = loop.create_task(loop.sock_recv(left, 100))
            await turns(number % 3)
            task.cancel()
            right.send(b"%d " % number)
            try:
                received += await task
            except asyncio.CancelledError:
                received += await loop.sock_recv(left, 100)
        assert received == b"".join(b"%d " % number for number in range(20))

    run(main())


def test_sock_accept_cancelled_loses_no_connection(loop, run, sockets):
    listener = sockets.listener()

    async def main():
        task = loop.create_task(loop.sock_accept(listener))
        await turns(2)
        task.cancel()
        client = sockets.tcp()
        await loop.sock_connect(client, listener.getsockname())
        with pytest.raises(asyncio.CancelledError):
            await task
        connection, _ = await loop.sock_accept(listener)
        connection.close()

    run(main())


def test_sock_connect_refused(loop, run, sockets):
    listener = sockets.listener()
    address = listener.getsockname()
    listener.close()

    async def main():
        with pytest.raises(ConnectionRefusedError, match="Connect call failed"):
            await loop.sock_connect(sockets.tcp(), address)

    run(main())


def test_sock_connect_over_a_unix_path(loop, run, sockets, tmp_path):
    listener = sockets.keep(socket.socket(socket.AF_UNIX))
    listener.bind(str(tmp_path / "socket"))
    listener.listen()

    async def main():
        client = sockets.keep(socket.socket(socket.AF_UNIX))
        await loop.sock_connect(client, str(tmp_path / "socket"))
        connection, _ = await loop.sock_accept(listener)
        await loop.sock_sendall(client, b"x")
        assert await loop.sock_recv(connection, 10) == b"x"
        connection.close()

    run(main())


def test_sock_recv_answers_nothing_at_the_end_of_the_stream(loop, run, sockets):
    left, right = sockets.tcp_pair()
    right.close()
    assert run(loop.sock_recv(left, 10)) == b""


def test_sock_sendall_to_a_peer_that_is_gone_fails(loop, run, sockets):
    left, right = sockets.unix_pair()
    right.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        run(loop.sock_sendall(left, b"x"))


def test_sock_sendfile(loop, run, sockets, tmp_path):
    (tmp_path / "file").write_bytes(LARGE)
    left, right = sockets.tcp_pair()

    async def main():
        with (tmp_path / "file").open("rb") as file:
            sending = loop.create_task(loop.sock_sendfile(left, file, 10, 1_000_000))
            received = b""
            while len(received) < 1_000_000:
                received += await loop.sock_recv(right, 1 << 20)
            assert await sending == 1_000_000
            assert received == LARGE[10:1_000_010]
            assert file.tell() == 1_000_010

    run(main())


def test_getaddrinfo_and_connection_by_name(loop, run):
    async def main():
        server = await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0)
        port = server.sockets[0].getsockname()[1]
        family = server.sockets[0].family
        reader, writer = await asyncio.open_connection("localhost", port, family=family)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await turns()

    run(main())
