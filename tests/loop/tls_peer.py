"""The other end of a TLS connection, by hand: every byte on the wire is the test's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

RECORD_HEADER_BYTES = 5
READ_BYTES_MAX = 64 * 1024
APPLICATION_DATA = 23


class TlsPeer:
    """TLS in memory, over a plain connection."""

    def __init__(self, reader, writer, context, **options):
        self.reader, self.writer = reader, writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **options)
        self.received_raw = bytearray()
        self.step = None  # bytes sent at a time

    async def flush(self):
        data = self.outgoing.read()
        step = self.step or len(data) or 1
        for begin in range(0, len(data), step):
            self.writer.write(data[begin : begin + step])
            await self.writer.drain()
            if self.step is not None:
                # The other side may read it before the next.
                await asyncio.sleep(0)

    async def until_done(self, function, *arguments):
        """Call until TLS wants no more input; EOFError if the wire ends before."""
        while True:
            try:
                result = function(*arguments)
            except ssl.SSLWantReadError:
                await self.flush()
                data = await self.reader.read(READ_BYTES_MAX)
                if not data:
                    raise EOFError("the wire has ended") from None
                self.received_raw += data
                self.incoming.write(data)
            else:
                await self.flush()
                return result

    async def handshake(self):
        await self.until_done(self.tls.do_handshake)

    async def send(self, data):
        self.tls.write(data)
        await self.flush()

    async def receive(self, size):
        data = bytearray()
        while len(data) < size:
            piece = await self.until_done(self.tls.read, min(size - len(data), READ_BYTES_MAX))
            if not piece:
                raise EOFError(f"close_notify after {len(data)} bytes")
            data += piece
        return data

    async def receive_close_notify(self):
        assert await self.until_done(self.tls.read, 1) == b""

    async def unwrap(self):
        await self.until_done(self.tls.unwrap)

    def application_records(self):
        """Sizes of the records of application data that have come, by their outer type."""
        sizes, rest = [], bytes(self.received_raw)
        while len(rest) >= RECORD_HEADER_BYTES:
            size = int.from_bytes(rest[3:5], "big")
            if rest[0] == APPLICATION_DATA:
                sizes.append(size)
            rest = rest[RECORD_HEADER_BYTES + size :]
        return sizes

    def close(self):
        self.writer.close()


class Recorder(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self):
        loop = asyncio.get_running_loop()
        self.transport = None
        self.calls = []
        self.data = bytearray()
        self.lost = loop.create_future()
        self.made = loop.create_future()
        self.changed = asyncio.Event()

    def note(self, call):
        self.calls.append(call)
        self.changed.set()

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")
        self.made.set_result(None)

    def data_received(self, data):
        assert type(data) is bytes
        assert data
        assert "lost" not in self.calls
        self.data += data
        self.note("data")

    def eof_received(self):
        self.note("eof")

    def pause_writing(self):
        self.note("pause")

    def resume_writing(self):
        self.note("resume")

    def connection_lost(self, exc):
        self.note("lost")
        # A second time would raise InvalidStateError.
        self.lost.set_result(exc)

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    def told(self):
        """What it was told, repeated data as one."""
        return [call for n, call in enumerate(self.calls) if self.calls[n - 1 : n] != [call]]


@contextlib.asynccontextmanager
async def accepted(
    server_tls, client_context, protocol_factory=Recorder, *, step=None, name=None, **options
):
    """(protocol of an accepted connection, the client by hand), after the handshake."""
    loop = asyncio.get_running_loop()
    protocols = []

    def factory():
        protocols.append(protocol_factory())
        return protocols[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=server_tls, **options)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    peer = TlsPeer(reader, writer, client_context, server_hostname=name or "localhost")
    peer.step = step
    try:
        await peer.handshake()
        await protocols[0].made
        yield protocols[0], peer
    finally:
        peer.close()
        server.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await server.wait_closed()
