"""asyncio's own streams on our loop: fed natively, unless somebody stands in between."""

from __future__ import annotations

import asyncio
import socket
import sys
from unittest import mock

import pytest


async def pair(
    loop, protocol_class=asyncio.StreamReaderProtocol, reader_class=asyncio.StreamReader
):
    """A reader on one end of a socket pair, its transport, and the other end."""
    near, far = socket.socketpair()
    far.setblocking(False)
    reader = reader_class(limit=100)
    protocol = protocol_class(reader)
    transport, _ = await loop.create_unix_connection(lambda: protocol, sock=near)
    return reader, protocol, transport, far


async def said(reader, far, data):
    far.send(data)
    assert await reader.readexactly(len(data)) == data


async def end(transport, far):
    transport.close()
    far.close()
    await asyncio.sleep(0)


def test_reader_is_fed_without_its_methods(headrace_run, headrace_loop):
    async def main():
        reader, _, transport, far = await pair(headrace_loop)
        with mock.patch.object(asyncio.streams.StreamReader, "at_eof"):
            pass  # the class has changed, and its methods have not
        profiled = []
        sys.setprofile(lambda frame, *_: profiled.append(frame.f_code.co_name))
        try:
            await said(reader, far, b"hello")
        finally:
            sys.setprofile(None)
        assert "readexactly" in profiled
        assert not {"feed_data", "data_received"} & set(profiled)
        await end(transport, far)

    headrace_run(main())


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (asyncio.StreamReader, "feed_data"),
        (asyncio.StreamReader, "_wakeup_waiter"),
        (asyncio.StreamReaderProtocol, "data_received"),
    ],
)
def test_method_that_is_replaced_on_the_class_is_called(run, loop, owner, name):
    async def main():
        reader, _, transport, far = await pair(loop)
        await said(reader, far, b"before")
        with mock.patch.object(owner, name, autospec=True, side_effect=getattr(owner, name)) as spy:
            await said(reader, far, b"meanwhile")
        assert spy.called
        count = spy.call_count
        await said(reader, far, b"after")
        assert spy.call_count == count
        await end(transport, far)

    run(main())


@pytest.mark.parametrize("name", ["feed_data", "data_received"])
def test_method_that_is_replaced_on_the_object_is_called(run, loop, name):
    async def main():
        reader, protocol, transport, far = await pair(loop)
        owner = reader if name == "feed_data" else protocol
        with mock.patch.object(owner, name, side_effect=getattr(owner, name)) as spy:
            await said(reader, far, b"hello")
        assert spy.called
        await end(transport, far)

    run(main())


def test_subclasses_are_told_in_python(run, loop):
    heard = []

    class Reader(asyncio.StreamReader):
        def feed_data(self, data):
            heard.append(data)
            super().feed_data(data)

    class Protocol(asyncio.StreamReaderProtocol):
        def data_received(self, data):
            heard.append(data)
            super().data_received(data)

    async def main():
        for classes in ((Protocol, asyncio.StreamReader), (asyncio.StreamReaderProtocol, Reader)):
            reader, _, transport, far = await pair(loop, *classes)
            await said(reader, far, b"hello")
            assert heard.pop() == b"hello"
            await end(transport, far)

    run(main())


def test_reader_that_is_full_pauses_its_transport(run, loop):
    async def main():
        reader, _, transport, far = await pair(loop)
        far.send(b"x" * 201)
        while not reader._paused:
            await asyncio.sleep(0.001)
        assert not transport.is_reading()
        assert await reader.readexactly(150) == b"x" * 150
        assert transport.is_reading()
        assert not reader._paused
        await end(transport, far)

    run(main())


def test_data_for_a_reader_that_is_gone_are_dropped(run, loop):
    async def main():
        reader, protocol, transport, far = await pair(loop)
        await said(reader, far, b"hello")
        reader = None
        assert protocol._stream_reader is None
        for _ in range(50):
            far.send(b"x" * 100)
            await asyncio.sleep(0)
        assert transport.is_reading()
        await end(transport, far)

    run(main())


def test_another_protocol_takes_over(run, loop):
    async def main():
        reader, _, transport, far = await pair(loop)
        await said(reader, far, b"first")
        other = asyncio.StreamReader()
        transport.set_protocol(asyncio.StreamReaderProtocol(other))
        await said(other, far, b"second")
        assert reader._buffer == b""
        await end(transport, far)

    run(main())
