"""A stream server for the length of a block, and a connection to it."""

from __future__ import annotations

import contextlib


@contextlib.asynccontextmanager
async def serving(api, callback, **options):
    server = await api.start_server(callback, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def connected(api, address, **options):
    reader, writer = await api.open_connection(*address, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
