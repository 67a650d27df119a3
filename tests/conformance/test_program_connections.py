"""asyncio programs over stream transports: beginning, ending, and what comes between the bytes."""

import asyncio
import socket
import struct

import pytest
from program import LARGE, StreamRecorder, close, connect, ends, receive_all, turns

# Beginning and ending.


@pytest.mark.parametrize("kind", ["tcp_pair", "unix_pair"])
def test_data_goes_both_ways_in_order(run, sockets, kind):
    async def main():
        left, right = await ends(sockets, kind)
        for number in range(50):
            left.transport.write(b"%d " % number)
            right.transport.write(b"%d;" % number)
        expected = b"".join(b"%d " % number for number in range(50))
        assert await right.received(len(expected)) == expected
        assert (await left.received(len(expected))).replace(b";", b" ") == expected
        await close(left, right)
        assert left.error is None
        assert left.events[0] == "made"
        assert left.events[-1] == "lost"

    run(main())


def test_large_data_arrives_whole(run, sockets):
    async def main():
        left, right = await ends(sockets)
        left.transport.write(LARGE)
        right.transport.writelines([LARGE[:1000], bytearray(LARGE[1000:5000]), LARGE[5000:]])
        assert await right.received(len(LARGE)) == LARGE
        assert await left.received(len(LARGE)) == LARGE
        await close(left, right)

    run(main())


def test_close_sends_what_was_written_first(run, sockets):
    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left)
        protocol.transport.write(LARGE)
        protocol.transport.close()
        assert protocol.transport.is_closing()
        assert await receive_all(right) == LARGE
        await protocol.lost
        assert protocol.error is None

    run(main())


def test_abort_drops_what_was_written(run, sockets):
    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left)
        protocol.transport.write(LARGE * 4)
        protocol.transport.abort()
        await protocol.lost
        assert protocol.error is None
        assert protocol.transport.get_write_buffer_size() == 0
        assert len(await receive_all(right)) < 4 * len(LARGE)

    run(main())


def test_abort_in_the_turn_of_the_peers_end_is_connection_lost_with_writes_queued(run, sockets):
    async def main():
        left, right = sockets.tcp_pair()
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        protocol = await connect(left)
        protocol.keep_open = True
        protocol.transport.write(LARGE)
        await turns()
        right.shutdown(socket.SHUT_WR)
        await protocol.ended
        protocol.transport.abort()
        # The peer is still there and reads nothing: nothing but abort() ends the connection.
        await protocol.lost
        assert protocol.error is None

    run(main())


def test_close_and_abort_lose_the_connection_once(run, sockets):
    async def main():
        left, right = await ends(sockets)
        for end in (left, right):
            end.transport.write(b"x")
            end.transport.close()
            end.transport.close()
            end.transport.abort()
            end.transport.abort()
        await left.lost
        await right.lost
        await turns()

    run(main())


def test_transport_aborted_before_it_began_is_made_and_lost(run, sockets):
    async def main():
        loop = asyncio.get_running_loop()
        protocol = StreamRecorder()
        transport = loop._make_socket_transport(sockets.tcp_pair()[0], protocol)
        transport.abort()
        await protocol.lost
        assert protocol.events in (["made", "lost"], ["lost"])

    run(main())


def test_close_in_connection_made(run, sockets):
    class Closer(StreamRecorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"bye")
            transport.close()

    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left, Closer)
        assert await receive_all(right) == b"bye"
        await protocol.lost

    run(main())


def test_close_in_data_received_delivers_no_more(run, sockets):
    class Closer(StreamRecorder):
        def data_received(self, data):
            assert not self.transport.is_closing()
            super().data_received(data)
            self.transport.close()

    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left, Closer)
        for _ in range(5):
            right.send(b"x" * 1000)
        await protocol.lost

    run(main())


def test_end_of_stream_closes_by_default(run, sockets):
    async def main():
        left, right = await ends(sockets)
        left.transport.write(b"last")
        left.transport.close()
        await right.lost
        await left.lost
        assert right.data == b"last"
        assert right.events == ["made", "eof", "lost"]

    run(main())


@pytest.mark.parametrize("kind", ["tcp_pair", "unix_pair"])
def test_half_close_leaves_the_other_direction_open(run, sockets, kind):
    async def main():
        left, right = await ends(sockets, kind)
        right.keep_open = True
        assert left.transport.can_write_eof()
        left.transport.write(LARGE)
        left.transport.write_eof()
        with pytest.raises(RuntimeError, match="write_eof"):
            left.transport.write(b"too late")
        await right.ended
        assert right.data == LARGE
        right.transport.write(b"answer after the end")
        await left.received(20)
        await close(right, left)

    run(main())


def test_write_eof_twice_and_without_data(run, sockets):
    async def main():
        left, right = await ends(sockets)
        right.keep_open = True
        left.transport.write_eof()
        left.transport.write_eof()
        await right.ended
        await close(left, right)

    run(main())


def test_peer_reset_is_the_connections_error(run, sockets):
    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        right.close()
        await protocol.lost
        assert isinstance(protocol.error, ConnectionResetError)
        assert protocol.events == ["made", "lost"]

    run(main())


def test_peer_reset_while_writing_is_the_connections_error(run, sockets):
    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left)
        protocol.transport.pause_reading()
        protocol.transport.write(LARGE * 4)
        right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        right.close()
        await protocol.lost
        assert isinstance(protocol.error, (ConnectionResetError, BrokenPipeError))

    run(main())


def test_write_after_the_connection_is_lost_is_ignored(run, sockets):
    async def main():
        left, right = await ends(sockets)
        await close(left, right)
        left.transport.write(b"nobody")
        left.transport.pause_reading()
        left.transport.resume_reading()
        left.transport.close()
        left.transport.abort()
        assert left.transport.is_closing()

    run(main())


def test_extra_info_names_both_ends(run, sockets):
    async def main():
        left, right = await ends(sockets)
        get = left.transport.get_extra_info
        assert get("peername") == right.transport.get_extra_info("sockname")
        assert get("socket").family == socket.AF_INET
        assert get("nothing", 5) == 5
        await close(left, right)

    run(main())


# What comes between the bytes.


def test_urgent_data_holds_up_no_ordinary_data(run, sockets):
    """Each receive ends at the mark (tcp(7)), with less than there is: there is more behind it."""

    async def main():
        left, right = sockets.tcp_pair()
        protocol = await connect(left)
        await turns(3)
        right.send(b"abc")
        right.send(b"!", socket.MSG_OOB)
        right.send(b"def")
        assert await protocol.received(6) == b"abcdef"
        right.send(b"ghi")
        assert await protocol.received(9) == b"abcdefghi"
        await close(protocol)

    run(main())


def test_descriptors_between_the_bytes_hold_up_no_byte(run, sockets):
    """A receive ends where other descriptors were sent (unix(7)); they are dropped unread."""

    async def main():
        left, right = sockets.unix_pair()
        protocol = await connect(left)
        await turns(3)
        right.send(b"abc")
        socket.send_fds(right, [b"def"], [right.fileno()])
        right.send(b"ghi")
        assert await protocol.received(9) == b"abcdefghi"
        await close(protocol)

    run(main())
