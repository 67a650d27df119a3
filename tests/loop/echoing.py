"""What the tests of connecting and serving share: an echo server, and a client that checks it."""

from __future__ import annotations

import asyncio
import contextlib
import os


class Echo(asyncio.Protocol):
    transport = None
    early = b""

    def connection_made(self, transport):
        assert isinstance(transport, asyncio.Transport)
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
