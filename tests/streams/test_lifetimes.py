"""Who refers to whom when readers and protocols go."""

from __future__ import annotations

import asyncio
import gc
import weakref

import headrace


def test_protocol_asked_while_its_reader_dies_has_none():
    """In the callback of a weak reference the reader is there no more."""
    seen = []

    async def answer(reader, writer):
        writer.write(b"line\n")
        await reader.read()
        writer.close()

    async def main():
        server = await headrace.start_server(answer, "127.0.0.1", 0)
        for _ in range(10):
            reader, writer = await headrace.open_connection(*server.sockets[0].getsockname())
            protocol = writer._protocol
            weakref.finalize(reader, lambda p: seen.append(p._stream_reader), protocol)
            assert await reader.readline() == b"line\n"
            del reader
            writer._reader = None
            gc.collect()
            writer.close()
            await asyncio.sleep(0)
        server.close()

    headrace.run(main())
    assert seen == [None] * 10
