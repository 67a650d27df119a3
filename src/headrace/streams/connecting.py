"""Servers and connections whose readers and writers are headrace's."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from headrace.loop.event_loop import EventLoop
from headrace.streams.stream import StreamReader, StreamReaderProtocol, StreamWriter

LIMIT_DEFAULT = 2**16  # bytes, asyncio's

Callback = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_connection(
    host: str | None = None,
    port: int | str | None = None,
    *,
    limit: int = LIMIT_DEFAULT,
    **kwds: Any,
) -> Streams:
    """asyncio.open_connection() with native streams: the same arguments, result and errors.

    On another loop than headrace's it is asyncio's own.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, EventLoop):
        return await asyncio.open_connection(host, port, limit=limit, **kwds)
    return await _connect(loop, limit, loop.create_connection, host, port, **kwds)


async def open_unix_connection(
    path: str | os.PathLike[str] | None = None, *, limit: int = LIMIT_DEFAULT, **kwds: Any
) -> Streams:
    """open_connection() to a Unix socket."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, EventLoop):
        return await asyncio.open_unix_connection(path, limit=limit, **kwds)
    return await _connect(loop, limit, loop.create_unix_connection, path, **kwds)


async def start_server(
    client_connected_cb: Callback,
    host: Any = None,
    port: Any = None,
    *,
    limit: int = LIMIT_DEFAULT,
    **kwds: Any,
) -> asyncio.Server:
    """asyncio.start_server() with native streams: the same arguments, result and errors.

    On another loop than headrace's it is asyncio's own.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, EventLoop):
        return await asyncio.start_server(client_connected_cb, host, port, limit=limit, **kwds)
    factory = _factory(loop, limit, client_connected_cb)
    server: asyncio.Server = await loop.create_server(factory, host, port, **kwds)
    return server


async def start_unix_server(
    client_connected_cb: Callback,
    path: str | os.PathLike[str] | None = None,
    *,
    limit: int = LIMIT_DEFAULT,
    **kwds: Any,
) -> asyncio.Server:
    """start_server() on a Unix socket."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, EventLoop):
        return await asyncio.start_unix_server(client_connected_cb, path, limit=limit, **kwds)
    factory = _factory(loop, limit, client_connected_cb)
    server: asyncio.Server = await loop.create_unix_server(factory, path, **kwds)
    return server


async def _connect(
    loop: EventLoop, limit: int, connect: Callable[..., Any], *arguments: Any, **kwds: Any
) -> Streams:
    reader = StreamReader(limit=limit, loop=loop)
    protocol = StreamReaderProtocol(reader, loop=loop)
    transport, _ = await connect(lambda: protocol, *arguments, **kwds)
    return reader, StreamWriter(transport, protocol, reader, loop)


def _factory(
    loop: EventLoop, limit: int, client_connected_cb: Callback
) -> Callable[[], StreamReaderProtocol]:
    def protocol() -> StreamReaderProtocol:
        reader = StreamReader(limit=limit, loop=loop)
        return StreamReaderProtocol(reader, client_connected_cb, loop=loop)

    return protocol
