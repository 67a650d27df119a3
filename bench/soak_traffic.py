"""What the soak's connections carry: the server's side as protocols, the clients' as streams.

A connection begins with a header that says how much goes up and down and who aborts; every byte
that comes is compared with what the connection's number says must be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import zlib
from typing import Any, cast

SIZE_BYTES_MAX = 1024 * 1024
PIECE_BYTES = 64 * 1024

# Every connection sends a part of this that its number decides, so that bytes of another one, or
# from another place, are noticed.
PATTERN = random.Random(20).randbytes(2 * SIZE_BYTES_MAX + 9)
# A prime, and so no multiple of any buffer's size.
OFFSETS = 999_983

# The number, bytes up, bytes down, when the server aborts, and whether anybody does.
HEADER = struct.Struct("!QIII?")
# What the server has received: its length and its checksum.
TRAILER = struct.Struct("!II")
NEVER = 0xFFFFFFFF


class Totals:
    """What a process has done, and the first things that went wrong."""

    def __init__(self) -> None:
        self.made = 0
        self.open = 0
        self.aborted = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.spawned = 0
        self.failures: list[str] = []

    def fail(self, failure: str) -> None:
        self.failures.append(failure)


class Received:
    """Compares what comes with what the number says, byte for byte, and sums it up."""

    def __init__(self, number: int, totals: Totals) -> None:
        self.offset = number % OFFSETS
        self.number = number
        self.totals = totals
        self.count = 0
        self.checksum = 0

    def add(self, data: bytes | memoryview) -> None:
        start = self.offset + self.count
        if data != PATTERN[start : start + len(data)]:
            self.totals.fail(f"connection {self.number}: wrong bytes after {self.count}")
        self.count += len(data)
        self.checksum = zlib.crc32(data, self.checksum)
        self.totals.received_bytes += len(data)


def to_send(number: int, size: int) -> memoryview:
    start = number % OFFSETS
    return memoryview(PATTERN)[start : start + size]


# The server: protocols, with their own flow control.


class Answer(asyncio.Protocol):
    """Reads what the header announces, and sends as much as it asks for, both at once."""

    def __init__(self, totals: Totals) -> None:
        self.totals = totals
        self.head = b""
        self.received: Received | None = None
        self.unsent = memoryview(b"")
        self.size = 0
        self.abort_at = NEVER
        self.is_aborted = False
        self.is_blocked = False
        self.is_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.totals.made += 1
        self.totals.open += 1

    def data_received(self, data: bytes) -> None:
        if self.received is None:
            self.head += data
            if len(self.head) < HEADER.size:
                return
            self.begin()
            data = self.head[HEADER.size :]
        assert self.received is not None
        self.received.add(data)
        if self.received.count >= self.abort_at:
            self.transport.abort()
        self.send()

    def begin(self) -> None:
        number, self.size, size_down, self.abort_at, self.is_aborted = HEADER.unpack_from(self.head)
        self.received = Received(number, self.totals)
        self.unsent = to_send(number, size_down)

    def send(self) -> None:
        while self.unsent and not self.is_blocked and not self.transport.is_closing():
            piece, self.unsent = self.unsent[:PIECE_BYTES], self.unsent[PIECE_BYTES:]
            self.totals.sent_bytes += len(piece)
            self.transport.write(piece)
        received = self.received
        if self.transport.is_closing():
            return
        if not self.unsent and not self.is_answered and received and received.count == self.size:
            self.is_answered = True
            self.transport.write(TRAILER.pack(received.count, received.checksum))

    def pause_writing(self) -> None:
        self.is_blocked = True

    def resume_writing(self) -> None:
        self.is_blocked = False
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.totals.open -= 1
        self.totals.aborted += self.is_aborted
        received = self.received
        if received is None or self.is_aborted:
            return
        if error is not None or received.count != self.size or not self.is_answered:
            self.totals.fail(
                f"connection {received.number}: the server has {received.count} bytes "
                f"of {self.size}, and the error {error!r}"
            )


# The clients: streams.


async def connect_once(ports: list[int], tls: ssl.SSLContext, number: int, totals: Totals) -> None:
    chance = random.Random(number)
    use_tls = chance.random() < 0.3
    options: dict[str, Any] = {"ssl": tls, "server_hostname": "localhost"} if use_tls else {}
    reader, writer = await asyncio.open_connection("127.0.0.1", ports[use_tls], **options)
    totals.made += 1
    # 1 byte as often as 1 MiB: the logarithm is what is drawn evenly.
    size_up, size_down = (int(SIZE_BYTES_MAX ** chance.random()) for _ in range(2))
    fate = chance.choices(["order", "client", "server"], [8, 1, 1])[0]
    abort_at = chance.randint(0, size_up) if fate != "order" else NEVER
    received = Received(number, totals)
    head = HEADER.pack(
        number, size_up, size_down, abort_at if fate == "server" else NEVER, fate != "order"
    )
    writer.write(head)
    sending = asyncio.create_task(
        send(writer, to_send(number, size_up), abort_at if fate == "client" else NEVER, totals)
    )
    try:
        await receive(reader, received, size_down)
        trailer = await reader.readexactly(TRAILER.size)
        expected = (size_up, zlib.crc32(to_send(number, size_up)))
        if TRAILER.unpack(trailer) != expected:
            totals.fail(f"connection {number}: the server has not received what was sent")
        if received.checksum != zlib.crc32(to_send(number, size_down)):
            totals.fail(f"connection {number}: the checksum of what came is wrong")
    except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError) as error:
        if fate == "order":
            totals.fail(f"connection {number}: {received.count} of {size_down} bytes, {error!r}")
    finally:
        await asyncio.gather(sending, return_exceptions=True)
        await end(writer, chance if fate == "client" else None)
    totals.aborted += fate != "order"


async def receive(reader: asyncio.StreamReader, received: Received, size: int) -> None:
    while received.count < size:
        data = await reader.read(min(PIECE_BYTES, size - received.count))
        if not data:
            raise asyncio.IncompleteReadError(b"", size - received.count)
        received.add(data)


async def send(
    writer: asyncio.StreamWriter, data: memoryview, abort_at: int, totals: Totals
) -> None:
    for start in range(0, len(data), PIECE_BYTES):
        piece = data[start : start + PIECE_BYTES]
        writer.write(piece)
        totals.sent_bytes += len(piece)
        if start + len(piece) >= abort_at:
            writer.transport.abort()
            return
        await writer.drain()


async def end(writer: asyncio.StreamWriter, aborts: random.Random | None) -> None:
    if aborts is not None:
        sock = writer.get_extra_info("socket")
        if aborts.random() < 0.5 and sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
