"""The protocols at both ends: they write down what they see, and what they must never see."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast

from plan import WRITTEN_BYTES_MAX

# What each side writes is a part of this, from its own offset: a byte says where it belongs.
PATTERN = random.Random(0).randbytes(WRITTEN_BYTES_MAX + 4099)
OFFSETS = (0, 4099)
# Smaller than most pieces, so that one piece is several get_buffer() ... buffer_updated().
BUFFER_BYTES = 700
STREAM_LIMIT_BYTES = 2000


class Recorder(asyncio.BaseProtocol):
    """What every kind of protocol here writes down; `tell` is called whenever it has seen more."""

    def __init__(self, side: int, keep_open: bool, tell: Callable[[], object]) -> None:
        self.offset = OFFSETS[1 - side]
        self.keep_open = keep_open
        self.tell = tell
        self.events: list[str] = []
        self.violations: list[str] = []
        self.received = 0
        self.is_paused = False
        self.is_write_paused = False
        self.armed = ""
        self.error: BaseException | None = None
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    def require(self, condition: bool, violation: str) -> None:
        if not condition:
            self.violations.append(f"{violation}, after {' '.join(self.events)}")

    def saw(self, event: str) -> None:
        self.require("lost" not in self.events, f"{event} after connection_lost()")
        self.events.append(event)
        self.tell()

    def has_seen(self, event: str) -> bool:
        return event in self.events

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.require(not self.events, "connection_made() is not the first")
        self.transport = cast(asyncio.Transport, transport)
        self.saw("made")

    def receive(self, data: bytes | memoryview) -> None:
        self.require(self.has_seen("made"), "data before connection_made()")
        self.require(not self.has_seen("eof"), "data after eof_received()")
        self.require(not self.has_seen("lost"), "data after connection_lost()")
        self.require(not self.is_paused, "data after pause_reading()")
        self.require(not self.transport.is_closing(), "data after close()")
        self.require(len(data) > 0, "data_received() without data")
        start = self.offset + self.received
        self.require(data == PATTERN[start : start + len(data)], f"wrong bytes at {self.received}")
        self.received += len(data)
        if self.armed:
            self.go_off()
        self.tell()

    def go_off(self) -> None:
        what, self.armed = self.armed, ""
        if what == "pause":
            self.is_paused = True
            self.transport.pause_reading()
        else:
            getattr(self.transport, what)()

    def eof_received(self) -> bool:
        self.require(not self.has_seen("eof"), "eof_received() twice")
        self.require(not self.is_paused, "eof_received() after pause_reading()")
        self.saw("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.require(not self.is_write_paused, "pause_writing() twice")
        self.is_write_paused = True
        self.tell()

    def resume_writing(self) -> None:
        self.require(self.is_write_paused, "resume_writing() without pause_writing()")
        self.is_write_paused = False
        self.tell()

    def connection_lost(self, error: BaseException | None) -> None:
        self.error = error
        self.require(self.has_seen("made"), "connection_lost() before connection_made()")
        self.saw("lost")

    async def finish(self) -> None:
        """Wait for what the protocol itself has running."""


class PlainRecorder(Recorder, asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        self.require(type(data) is bytes, f"data is {type(data).__name__}")
        self.receive(data)


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.buffer = bytearray(BUFFER_BYTES)

    def get_buffer(self, sizehint: int) -> memoryview:
        self.require(not self.has_seen("lost"), "get_buffer() after connection_lost()")
        # No bytearray: asyncio's TLS takes slices of it, which would be copies.
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.require(0 < nbytes <= BUFFER_BYTES, f"buffer_updated({nbytes})")
        self.receive(memoryview(self.buffer)[:nbytes])


class StreamRecorder(Recorder, asyncio.StreamReaderProtocol):
    """A stream whose program reads whatever comes, in a task that may be cancelled."""

    def __init__(self, side: int, keep_open: bool, tell: Callable[[], object]) -> None:
        Recorder.__init__(self, side, keep_open, tell)
        self.reader = asyncio.StreamReader(limit=STREAM_LIMIT_BYTES)
        asyncio.StreamReaderProtocol.__init__(self, self.reader)
        self.read_bytes = 0
        self.drains: list[asyncio.Task[None]] = []
        self.reading: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self.writer = asyncio.StreamWriter(self.transport, self, self.reader, loop)
        self.start_reading()

    def start_reading(self) -> None:
        self.reading = asyncio.get_running_loop().create_task(self.read())

    async def read(self) -> None:
        try:
            while data := await self.reader.read(1500):
                start = self.offset + self.read_bytes
                expected = PATTERN[start : start + len(data)]
                self.require(data == expected, f"read() wrong bytes at {self.read_bytes}")
                self.read_bytes += len(data)
        except ConnectionError:
            self.require(self.error is not None, "read() raises without an error")
        else:
            self.require(self.read_bytes == self.received, "read() has not read everything")

    def data_received(self, data: bytes) -> None:
        self.require(not getattr(self.reader, "_paused", False), "data after pause_reading()")
        self.receive(data)
        asyncio.StreamReaderProtocol.data_received(self, data)

    def eof_received(self) -> bool:
        super().eof_received()
        return bool(asyncio.StreamReaderProtocol.eof_received(self))

    def pause_writing(self) -> None:
        super().pause_writing()
        asyncio.StreamReaderProtocol.pause_writing(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        asyncio.StreamReaderProtocol.resume_writing(self)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        asyncio.StreamReaderProtocol.connection_lost(self, error)

    async def cancel_read(self) -> None:
        """Cancel whoever reads, and read on: nothing may be missing."""
        assert self.reading is not None
        if not self.reading.done():
            self.reading.cancel()
            await asyncio.wait([self.reading])
            self.start_reading()

    def drain(self) -> None:
        self.drains.append(asyncio.get_running_loop().create_task(self.writer.drain()))

    async def cancel_drain(self) -> None:
        for task in self.drains:
            task.cancel()
        await self.finish_drains()

    async def finish_drains(self) -> None:
        for result in await asyncio.gather(*self.drains, return_exceptions=True):
            is_fine = result is None or isinstance(
                result, (ConnectionError, asyncio.CancelledError)
            )
            self.require(is_fine, f"drain() raises {result!r}")
        self.drains.clear()

    async def finish(self) -> None:
        await self.finish_drains()
        if self.reading is not None:
            await self.reading
        # Somebody has to ask, or the future complains that nobody has.
        await asyncio.gather(self._get_close_waiter(None), return_exceptions=True)


KINDS = {"protocol": PlainRecorder, "buffered": BufferedRecorder, "streams": StreamRecorder}
