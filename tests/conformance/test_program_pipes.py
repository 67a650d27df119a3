"""asyncio programs over pipe transports, on every model and on stock asyncio."""

import asyncio
import errno
import os

from program import LARGE, Recorder, turns


class PipeRecorder(Recorder):
    def __init__(self):
        super().__init__()
        self.resumed = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        assert not self.transport.is_closing()
        super().data_received(data)

    def eof_received(self):
        assert self.transport.is_closing()
        super().eof_received()
        return True  # means nothing on a pipe

    def resume_writing(self):
        super().resume_writing()
        self.resumed.set_result(None)

    def connection_lost(self, error):
        assert self.transport.is_closing()
        super().connection_lost(error)


async def reads(end, protocol=PipeRecorder):
    _, made = await asyncio.get_running_loop().connect_read_pipe(protocol, end)
    return made


async def writes(end, protocol=PipeRecorder):
    _, made = await asyncio.get_running_loop().connect_write_pipe(protocol, end)
    return made


async def ends(pipes, protocol=PipeRecorder):
    """What reads from a pipe, and what writes to it."""
    reader, writer = pipes.pipe()
    return await reads(reader, protocol), await writes(writer)


def test_large_data_arrive_whole_and_the_end_after_them(run, pipes):
    async def main():
        reader, writer = pipes.pipe()
        received, sent = await reads(reader), await writes(writer)
        sent.transport.write(LARGE)
        sent.transport.write_eof()
        await received.lost
        await sent.lost
        assert received.data == LARGE
        assert received.events == ["made", "eof", "lost"]
        assert sent.events[-1] == "lost"
        assert received.error is None
        assert sent.error is None
        assert reader.closed
        assert writer.closed

    run(main())


def test_large_data_cross_a_terminal_both_ways(run, pipes):
    async def main():
        sides = pipes.terminal()
        copies = [pipes.keep(os.dup(end.fileno()), "wb") for end in sides]
        receivers = [await reads(end) for end in sides]
        senders = [await writes(copy) for copy in copies]
        for sender in senders:
            sender.transport.write(LARGE[:200_000])
        for receiver in receivers:
            assert await receiver.received(200_000) == LARGE[:200_000]
        for end in (*senders, *receivers):
            end.transport.close()
            await end.lost

    run(main())


def test_many_small_writes_arrive_in_order(run, pipes):
    async def main():
        received, sent = await ends(pipes)
        for number in range(1000):
            sent.transport.write(b"%d " % number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        sent.transport.writelines([b"the ", b"end"])
        sent.transport.close()
        await received.lost
        assert received.data == b"".join(b"%d " % number for number in range(1000)) + b"the end"
        await sent.lost

    run(main())


def test_paused_reading_gets_nothing_and_misses_nothing(run, pipes):
    async def main():
        received, sent = await ends(pipes)
        for _ in range(5):
            received.transport.pause_reading()
            received.is_paused = True
            assert not received.transport.is_reading()
            before = len(received.data)
            sent.transport.write(b"x" * 10)
            await turns(5)
            assert len(received.data) == before
            received.is_paused = False
            received.transport.resume_reading()
            assert received.transport.is_reading()
            await received.received(before + 10)
        assert received.data == b"x" * 50
        sent.transport.close()
        await received.lost
        await sent.lost

    run(main())


def test_reading_paused_by_its_own_callback_stops_at_once(run, pipes):
    class Pausing(PipeRecorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()
            self.is_paused = True

    async def main():
        received, sent = await ends(pipes, Pausing)
        sent.transport.write(b"one")
        await received.received(3)
        sent.transport.write(b"two")
        sent.transport.close()
        await sent.lost
        await turns(10)
        assert received.data == b"one"
        received.is_paused = False
        received.transport.resume_reading()
        await received.received(6)
        received.is_paused = False
        received.transport.resume_reading()
        await received.lost
        assert received.data == b"onetwo"
        assert received.events == ["made", "eof", "lost"]

    run(main())


def test_writer_is_paused_above_the_high_water_mark_and_resumed(run, pipes):
    async def main():
        reader, writer = pipes.pipe()
        sent = await writes(writer)
        sent.transport.set_write_buffer_limits(high=10_000, low=1000)
        assert sent.transport.get_write_buffer_limits() == (1000, 10_000)
        sent.transport.write(LARGE[:200_000])
        assert sent.events == ["made", "pause"]
        assert sent.transport.get_write_buffer_size() > 10_000
        received = await reads(reader)
        await sent.resumed
        assert sent.transport.get_write_buffer_size() <= 1000
        await received.received(200_000)
        assert sent.events == ["made", "pause", "resume"]
        sent.transport.close()
        await sent.lost
        await received.lost

    run(main())


def test_write_end_notices_that_the_reader_has_gone(run, pipes):
    async def main():
        reader, writer = pipes.pipe()
        sent = await writes(writer)
        reader.close()
        await sent.lost
        assert sent.error is None
        assert sent.events == ["made", "lost"]

    run(main())


def test_write_end_that_began_without_a_reader_notices(run, pipes):
    async def main():
        reader, writer = pipes.pipe()
        reader.close()
        sent = await writes(writer)
        await sent.lost
        assert sent.error is None

    run(main())


def test_write_end_says_broken_pipe_when_data_are_left(run, pipes):
    async def main():
        reader, writer = pipes.pipe()
        sent = await writes(writer)
        sent.transport.write(LARGE)
        await asyncio.sleep(0)
        reader.close()
        await sent.lost
        assert isinstance(sent.error, BrokenPipeError)

    run(main())


def test_write_to_a_pipe_without_a_reader_breaks(run, pipes):
    async def main():
        reader, writer = pipes.pipe()
        sent = await writes(writer)
        reader.close()
        sent.transport.write(b"for nobody")
        await sent.lost
        assert isinstance(sent.error, BrokenPipeError)
        for _ in range(3):
            sent.transport.write(b"too late")

    run(main())


def test_close_sends_what_was_written(run, pipes):
    async def main():
        reader, writer = pipes.pipe()
        sent = await writes(writer)
        sent.transport.write(LARGE)
        sent.transport.close()
        assert sent.transport.is_closing()
        received = await reads(reader)
        await received.lost
        await sent.lost
        assert sent.error is None
        assert received.data == LARGE

    run(main())


def test_abort_drops_what_was_written(run, pipes):
    async def main():
        reader, writer = pipes.pipe()
        sent = await writes(writer)
        sent.transport.write(LARGE)
        await asyncio.sleep(0)
        sent.transport.abort()
        assert sent.transport.is_closing()
        await sent.lost
        assert sent.error is None
        received = await reads(reader)
        await received.lost
        assert len(received.data) < len(LARGE)
        assert LARGE.startswith(received.data)

    run(main())


def test_closed_read_end_is_noticed_by_the_writer(run, pipes):
    async def main():
        received, sent = await ends(pipes)
        received.transport.close()
        assert received.transport.is_closing()
        await received.lost
        assert received.events == ["made", "lost"]
        await sent.lost
        assert sent.error is None

    run(main())


def test_terminal_that_hangs_up_is_an_error_of_its_reader(run, pipes):
    async def main():
        master, terminal = pipes.terminal()
        received = await reads(master)
        os.write(terminal.fileno(), b"last words")
        await received.received(10)
        terminal.close()
        await received.lost
        assert received.events == ["made", "lost"]
        assert received.error.errno == errno.EIO

    run(main())


def test_sockets_are_pipes_too(run, sockets):
    async def main():
        left, right = sockets.unix_pair()
        received, sent = await reads(left), await writes(right)
        sent.transport.write(LARGE)
        sent.transport.write_eof()
        await received.lost
        await sent.lost
        assert received.data == LARGE

    run(main())


def test_write_end_of_a_socket_notices_that_its_peer_has_gone(run, sockets):
    async def main():
        left, right = sockets.unix_pair()
        sent = await writes(left)
        right.close()
        await sent.lost
        assert sent.events == ["made", "lost"]

    run(main())


def test_streams_over_pipes(run, pipes, loop):
    async def main():
        files = pipes.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), files[0]
        )
        flow_transport, flow = await loop.connect_write_pipe(
            lambda: asyncio.streams.FlowControlMixin(loop), files[1]
        )
        writer = asyncio.StreamWriter(flow_transport, flow, None, loop)

        async def produce():
            for number in range(200):
                writer.write(b"%d\n" % number * 100)
                await writer.drain()
            writer.close()

        producing = asyncio.create_task(produce())
        lines = [line async for line in reader]
        await producing
        assert lines == [b"%d\n" % number for number in range(200) for _ in range(100)]
        transport.close()

    run(main())
