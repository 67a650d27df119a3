"""What the loop counts, and that its models declare the system calls they make."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

import headrace

MESSAGE = b"water to the wheel\n"
# Beyond what a model sends with the turn's other operations.
LARGE = bytes(200_000)
# Made once for a loop, not for what it serves.
SET_UP_CALLS = {"epoll_create1", "io_uring_setup", "io_uring_register"}


def client_of(listening: socket.socket) -> socket.socket:
    """A connection whose near end is no affair of the loop's, so that none of its calls count."""
    client = socket.create_connection(listening.getsockname())
    client.sendall(MESSAGE)
    return client


async def serve_streams(loop):
    served = loop.create_future()

    async def answer(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.write(LARGE)
        writer.close()
        await writer.wait_closed()
        served.set_result(None)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    with client_of(server.sockets[0]):
        await served
    server.close()
    await server.wait_closed()


async def serve_sockets(loop):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listening))
        await asyncio.sleep(0)
        with client_of(listening):
            connection, _ = await accepting
            with connection:
                await loop.sock_sendall(connection, await loop.sock_recv(connection, 100))


@pytest.mark.parametrize("serve", [serve_streams, serve_sockets])
def test_model_declares_the_system_calls_of_a_service(headrace_run, headrace_loop, serve):
    headrace_run(serve(headrace_loop))
    (info,) = [info for info in headrace.models() if info.name == headrace_loop.model]
    made = set(headrace_loop.statistics()["system_calls"]) - SET_UP_CALLS
    assert made <= set(info.system_calls)


def test_statistics_explains_each_of_its_counts(headrace_loop):
    text = headrace.EventLoop.statistics.__doc__
    assert set(re.findall(r"``(\w+)``", text)) == set(headrace_loop.statistics())
