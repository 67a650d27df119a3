"""Many streams that end in one turn are all told in the next: handlers end before the loop does."""

from __future__ import annotations

import asyncio

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
