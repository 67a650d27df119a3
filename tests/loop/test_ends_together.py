"""Ends of streams come when asyncio says them: neither too late, nor before who has to answer."""

from __future__ import annotations

import asyncio
import socket

import pytest

CLIENTS = 100


@pytest.mark.prompt
def test_handlers_of_many_clients_that_have_closed_are_not_cancelled_at_the_end(loop, complaints):
    """As asyncio.run() does it: what is still there when main() returns is cancelled.

    asyncio's streams report a handler that was cancelled to the loop's exception handler.
    """

    async def handle(reader, writer):
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def ask(address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"line\n")
        assert await reader.readline() == b"LINE\n"
        writer.close()

    async def main():
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        await asyncio.gather(*[ask(address) for _ in range(CLIENTS)])
        server.close()

    async def cancel_what_is_left():
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return [task for task in left if task.cancelled()]

    loop.run_until_complete(main())
    assert loop.run_until_complete(cancel_what_is_left()) == []
    assert complaints == []


class AnswersFromTask(asyncio.Protocol):
    """Whose eof_received() is the default, which closes."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.task = asyncio.ensure_future(self.answer(data))

    async def answer(self, data):
        self.transport.write(data * 100)


async def answer_stream(reader, writer):
    data = await reader.read(100)
    writer.write(data * 100)
    await writer.drain()
    writer.close()


async def receive_all(loop, client):
    received = bytearray()
    while data := await loop.sock_recv(client, 65536):
        received += data
    return bytes(received)


@pytest.mark.parametrize("kind", ["protocol", "streams"])
def test_request_that_comes_with_the_end_of_its_stream_is_answered(loop, run, kind):
    """Data and FIN come up in one turn; asyncio reads once in a turn, and answers first."""

    async def main():
        if kind == "protocol":
            server = await loop.create_server(AnswersFromTask, "127.0.0.1", 0)
        else:
            server = await asyncio.start_server(answer_stream, "127.0.0.1", 0)
        for number in range(20):
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, server.sockets[0].getsockname())
                client.send(b"%07d" % number)
                client.shutdown(socket.SHUT_WR)
                assert await receive_all(loop, client) == b"%07d" % number * 100
        server.close()
        await server.wait_closed()

    run(main())
