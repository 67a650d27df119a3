"""What the methods return: awaited as asyncio's coroutines are, on any loop."""

from __future__ import annotations

import asyncio
import collections.abc
import gc

import pytest

import headrace


def fed(data=b"", *, end=False, **options):
    reader = headrace.StreamReader(**options)
    if data:
        reader.feed_data(data)
    if end:
        reader.feed_eof()
    return reader


def on_loop(test):
    """Run *test*, a coroutine function, to its end on stock asyncio's loop."""

    def run_it():
        asyncio.run(test())

    run_it.__name__ = test.__name__
    return run_it


@on_loop
async def test_nothing_is_taken_before_it_is_awaited():
    reader = fed(b"abc")
    reading = reader.read(2)
    assert reader._buffer == b"abc"
    assert await reading == b"ab"


@on_loop
async def test_read_is_a_coroutine_to_asyncio():
    reader = fed(b"abcdefghi")
    assert asyncio.iscoroutine(reading := reader.read(1))
    assert isinstance(reading, collections.abc.Coroutine)
    assert not asyncio.isfuture(reading)
    assert await reading == b"a"
    assert await asyncio.create_task(reader.read(1)) == b"b"
    assert await asyncio.wait_for(reader.readexactly(2), 5) == b"cd"
    assert await asyncio.gather(reader.read(1), reader.read(1)) == [b"e", b"f"]
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"i") == b"ghi"


@on_loop
async def test_awaiting_twice_is_refused():
    reading = fed(b"abc").read(1)
    await reading
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await reading


@on_loop
async def test_reading_that_is_never_awaited_warns():
    reader = fed(b"abc")
    with pytest.warns(RuntimeWarning, match=r"coroutine 'StreamReader.readline' was never awaited"):
        reader.readline()


@on_loop
async def test_reading_that_is_closed_does_not_warn():
    reading = fed(b"abc").readline()
    reading.close()
    with pytest.raises(RuntimeError, match="already awaited"):
        await reading


@on_loop
async def test_reading_by_hand_sends_and_throws_as_a_coroutine():
    reader = fed(b"abc")
    reading = reader.read(1)
    with pytest.raises(TypeError, match="just-started"):
        reading.send(1)
    reading.close()
    with pytest.raises(StopIteration) as stopped:
        reader.read(1).send(None)
    assert stopped.value.value == b"a"
    with pytest.raises(StopIteration) as stopped:
        next(reader.read(1))
    assert stopped.value.value == b"b"
    reading = reader.readexactly(2)
    assert asyncio.isfuture(reading.send(None))
    with pytest.raises(KeyError):
        reading.throw(KeyError("x"))
    assert reader._waiter is None
    assert await reader.read(1) == b"c"
    with pytest.raises(ValueError, match="y"):
        reader.read(1).throw(ValueError("y"))


@on_loop
async def test_waiting_that_is_closed_lets_another_wait():
    reader = fed()
    reading = reader.read(1)
    reading.send(None)
    reading.close()
    waiting = asyncio.create_task(reader.read(1))
    await asyncio.sleep(0)
    reader.feed_data(b"x")
    assert await waiting == b"x"


@pytest.mark.parametrize("name", ["read", "readexactly", "readuntil", "readline", "__anext__"])
def test_cancelled_reading_loses_nothing_that_has_come(name):
    async def main():
        reader = fed()
        arguments = {"read": (10,), "readexactly": (4,)}.get(name, ())
        waiting = asyncio.ensure_future(getattr(reader, name)(*arguments))
        await asyncio.sleep(0)
        # The task has been woken and has not come up yet.
        reader.feed_data(b"abc\n")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await reader.read(10) == b"abc\n"

    asyncio.run(main())


@on_loop
async def test_two_readers_at_once_are_refused():
    reader = fed()
    waiting = asyncio.create_task(reader.read(1))
    await asyncio.sleep(0)
    message = r"readexactly\(\) called while another coroutine is already waiting"
    with pytest.raises(RuntimeError, match=message):
        await reader.readexactly(1)
    reader.feed_data(b"x")
    assert await waiting == b"x"


@on_loop
async def test_a_piece_that_is_read_whole_is_the_object_that_came():
    piece = b"one piece\n"
    assert await fed(piece).readline() is piece
    assert await fed(piece).read(100) is piece


@on_loop
async def test_buffer_that_somebody_holds_stays_the_buffer():
    reader = fed(b"abc")
    buffer = reader._buffer
    assert await reader.readexactly(3) == b"abc"
    reader.feed_data(b"def")
    assert buffer == b"def"
    buffer += b"ghi"
    assert await reader.readexactly(6) == b"defghi"


def test_state_by_asyncios_names_can_be_written():
    async def main():
        reader = fed()
        reader._buffer = bytearray(b"abc")
        reader._limit = 7
        reader._eof = True
        assert repr(reader) == "<StreamReader 3 bytes eof limit=7>"
        assert await reader.read() == b"abc"

    asyncio.run(main())


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_must_be_positive(limit):
    async def main():
        with pytest.raises(ValueError, match="Limit cannot be <= 0"):
            headrace.StreamReader(limit=limit)

    asyncio.run(main())


@on_loop
async def test_limit_may_be_larger_than_any_buffer():
    reader = fed(b"abc\n", limit=2**70)
    assert await reader.readline() == b"abc\n"
    assert await fed(b"abc\n", limit=float("inf")).readline() == b"abc\n"


@on_loop
async def test_subclass_that_overrides_gets_its_own_methods_called():
    class Counting(headrace.StreamReader):
        fed_bytes = 0
        waits = 0

        def feed_data(self, data):
            self.fed_bytes += len(data)
            super().feed_data(data)

        async def _wait_for_data(self, name):
            self.waits += 1
            await super()._wait_for_data(name)

    reader = Counting()
    protocol = headrace.StreamReaderProtocol(reader)
    waiting = asyncio.create_task(reader.readline())
    await asyncio.sleep(0)
    protocol.data_received(b"line\nrest")
    assert await waiting == b"line\n"
    assert await reader.read(10) == b"rest"
    assert (reader.fed_bytes, reader.waits) == (9, 1)


@on_loop
async def test_debug_mode_remembers_where_a_reader_was_made():
    asyncio.get_running_loop().set_debug(True)
    frame = headrace.StreamReader()._source_traceback[-1]
    assert frame.name == "test_debug_mode_remembers_where_a_reader_was_made"


def test_classes_are_subclasses_of_asyncios():
    for name in ("StreamReader", "StreamWriter", "StreamReaderProtocol"):
        ours, theirs = getattr(headrace, name), getattr(asyncio, name)
        assert issubclass(ours, theirs)
        public = {each for each in dir(theirs) if not each.startswith("__")}
        assert public <= set(dir(ours))


@on_loop
async def test_protocol_does_not_keep_its_reader_alive():
    reader = fed()
    protocol = headrace.StreamReaderProtocol(reader)
    assert protocol._stream_reader is reader
    assert protocol._stream_reader_wr() is reader
    del reader
    gc.collect()
    assert protocol._stream_reader is None
    protocol.data_received(b"for nobody")


@on_loop
async def test_reader_of_two_protocols_is_fed_by_both():
    reader = fed()
    first, second = (headrace.StreamReaderProtocol(reader) for _ in range(2))
    first.data_received(b"a")
    second.data_received(b"b")
    del first
    gc.collect()
    second.data_received(b"c")
    assert await reader.readexactly(3) == b"abc"
    del reader
    gc.collect()
    assert second._stream_reader is None
