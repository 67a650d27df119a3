"""asyncio programs over stream transports: flow control, and protocols of every kind."""

import asyncio
import socket

import pytest
from program import LARGE, StreamRecorder, close, connect, ends, receive_all, turns

# Flow control.


def test_no_data_comes_while_reading_is_paused(run, sockets):
    async def main():
        left, right = await ends(sockets)
        left.transport.pause_reading()
        left.is_paused = True
        assert not left.transport.is_reading()
        right.transport.write(b"held")
        await turns()
        assert left.data == b""
        left.is_paused = False
        left.transport.resume_reading()
        assert left.transport.is_reading()
        await left.received(4)
        await close(left, right)

    run(main())


def test_pause_in_data_received_holds_the_rest(run, sockets):
    class Pauser(StreamRecorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()
            self.is_paused = True
            asyncio.get_running_loop().call_soon(self.go_on)

        def go_on(self):
            self.is_paused = False
            self.transport.resume_reading()

    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left, Pauser)
        peer = await connect(right)
        peer.transport.write(LARGE)
        peer.transport.close()
        await protocol.lost
        assert protocol.data == LARGE

    run(main())


def test_pause_and_resume_at_once_lose_nothing(run, sockets):
    async def main():
        left, right = await ends(sockets)
        for number in range(30):
            right.transport.write(b"0123456789")
            left.transport.pause_reading()
            left.transport.pause_reading()
            if number % 3 == 0:
                left.is_paused = True
                await asyncio.sleep(0)
                left.is_paused = False
            left.transport.resume_reading()
            left.transport.resume_reading()
        assert await left.received(300) == b"0123456789" * 30
        await close(left, right)

    run(main())


def test_end_of_stream_waits_while_reading_is_paused(run, sockets):
    async def main():
        left, right = await ends(sockets)
        left.transport.pause_reading()
        left.is_paused = True
        right.transport.write(b"then the end")
        right.transport.close()
        await right.lost
        await turns()
        assert left.events == ["made"]
        left.is_paused = False
        left.transport.resume_reading()
        await left.lost
        assert left.data == b"then the end"
        assert left.events == ["made", "eof", "lost"]

    run(main())


def test_close_while_paused(run, sockets):
    async def main():
        left, right = await ends(sockets)
        left.transport.pause_reading()
        right.transport.write(b"unread")
        await turns()
        await close(left, right)

    run(main())


def test_writing_is_paused_above_the_high_mark_and_resumed_below_the_low(run, sockets):
    async def main():
        pair = sockets.tcp_pair()
        pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        left, right = await connect(pair[0]), await connect(pair[1])
        right.transport.pause_reading()
        left.transport.set_write_buffer_limits(high=100_000, low=10_000)
        assert left.transport.get_write_buffer_limits() == (10_000, 100_000)
        left.transport.write(LARGE * 4)
        await turns()
        assert left.events == ["made", "pause"]
        assert left.transport.get_write_buffer_size() > 100_000
        right.transport.resume_reading()
        await right.received(4 * len(LARGE))
        await turns()
        assert left.events == ["made", "pause", "resume"]
        await close(left, right)

    run(main())


def test_writing_is_not_paused_while_the_kernel_takes_everything(run, sockets):
    async def main():
        left, right = await ends(sockets)
        for _ in range(100):
            left.transport.write(b"small")
            await asyncio.sleep(0)
        await right.received(500)
        assert "pause" not in left.events
        await close(left, right)

    run(main())


def test_limits_that_make_no_sense_are_refused(run, sockets):
    async def main():
        left, right = await ends(sockets)
        with pytest.raises(ValueError, match="must be >="):
            left.transport.set_write_buffer_limits(high=1, low=2)
        with pytest.raises(TypeError, match="bytes-like"):
            left.transport.write("text")
        await close(left, right)

    run(main())


# Callbacks that raise.


@pytest.mark.parametrize(
    "callback", ["connection_made", "data_received", "eof_received", "connection_lost"]
)
def test_callback_that_raises_is_reported_and_its_connection_ends(run, sockets, errors, callback):
    class Raiser(StreamRecorder):
        pass

    def fail(self, *arguments):
        getattr(StreamRecorder, callback)(self, *arguments)
        raise LookupError(callback)

    setattr(Raiser, callback, fail)

    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left, Raiser)
        other_left, other_right = await ends(sockets)
        right.send(b"x")
        right.shutdown(socket.SHUT_WR)
        await protocol.lost
        # Nothing else is lost.
        other_left.transport.write(b"fine")
        await other_right.received(4)
        await close(other_left, other_right)
        await turns()

    run(main())
    assert [type(context["exception"]) for context in errors] == [LookupError]
    assert str(errors[0]["exception"]) == callback
    errors.clear()


@pytest.mark.parametrize("callback", ["pause_writing", "resume_writing"])
def test_flow_control_callback_that_raises_is_reported(run, sockets, errors, callback):
    class Raiser(StreamRecorder):
        pass

    def fail(self):
        getattr(StreamRecorder, callback)(self)
        raise LookupError(callback)

    setattr(Raiser, callback, fail)

    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left, Raiser)
        protocol.transport.write(LARGE * 4)
        protocol.transport.close()
        assert len(await receive_all(right)) == len(LARGE) * 4
        await protocol.lost

    run(main())
    assert [str(context["exception"]) for context in errors] == [callback]
    errors.clear()


# Buffered protocols.


class Buffered(asyncio.BufferedProtocol):
    def __init__(self, size=1000):
        self.buffer = bytearray(size)
        self.data = b""
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, size):
        assert 0 < size <= len(self.buffer)
        self.data += self.buffer[:size]

    def connection_lost(self, error):
        self.lost.set_result(error)


@pytest.mark.parametrize("size", [1, 1000, 1_000_000])
def test_buffered_protocol_receives_everything(run, sockets, size):
    data = LARGE[: min(size * 100, len(LARGE))]

    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left, lambda: Buffered(size))
        peer = await connect(right)
        peer.transport.write(data)
        peer.transport.close()
        await protocol.lost
        assert protocol.data == data

    run(main())


def test_buffered_protocol_paused_in_the_middle_goes_on_where_it_was(run, sockets):
    class Pauser(Buffered):
        paused = False

        def buffer_updated(self, size):
            assert not self.paused
            super().buffer_updated(size)
            self.paused = True
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.go_on)

        def go_on(self):
            self.paused = False
            self.transport.resume_reading()

    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left, lambda: Pauser(100))
        peer = await connect(right)
        peer.transport.write(LARGE[:10_000])
        peer.transport.close()
        await protocol.lost
        assert protocol.data == LARGE[:10_000]

    run(main())


def test_protocol_can_be_changed_in_data_received(run, sockets):
    class Second(StreamRecorder):
        pass

    class First(StreamRecorder):
        def data_received(self, data):
            super().data_received(data)
            second.transport = self.transport
            self.transport.set_protocol(second)

    async def main():
        nonlocal second
        second = Second()
        left, right = sockets.tcp_pair()
        first = await connect(left, First)
        right.send(b"first")
        while not first.data:
            await asyncio.sleep(0)
        right.send(b"second")
        await second.received(6 + 5 - len(first.data))
        second.transport.close()
        await second.lost
        assert first.data + second.data == b"firstsecond"

    second = None
    run(main())
