"""asyncio programs over stream transports, on every model and on stock asyncio."""

import asyncio
import os
import socket
import ssl
import struct
from pathlib import Path

import pytest

CERTIFICATE = Path(__file__).parent / "localhost.pem"
LARGE = os.urandom(2_000_000)


class Recorder(asyncio.Protocol):
    """Writes down every callback, and checks that they come in asyncio's order."""

    def __init__(self):
        self.events = []
        self.data = b""
        self.transport = None
        self.keep_open = False
        loop = asyncio.get_running_loop()
        self.made = loop.create_future()
        self.ended = loop.create_future()
        self.lost = loop.create_future()
        self.paused_reading = False
        self.wanted = None

    def connection_made(self, transport):
        assert self.events == []
        self.events.append("made")
        self.transport = transport
        self.made.set_result(None)

    def data_received(self, data):
        assert type(data) is bytes
        assert data
        assert not self.paused_reading, "data_received() after pause_reading()"
        assert "eof" not in self.events
        assert "lost" not in self.events
        self.data += data
        if self.wanted is not None and len(self.data) >= self.wanted[0]:
            self.wanted[1].set_result(None)
            self.wanted = None

    def eof_received(self):
        assert "eof" not in self.events
        self.events.append("eof")
        self.ended.set_result(None)
        return self.keep_open

    def pause_writing(self):
        assert self.events[-1] != "pause"
        self.events.append("pause")

    def resume_writing(self):
        assert "pause" in self.events
        self.events.append("resume")

    def connection_lost(self, error):
        assert "lost" not in self.events, "connection_lost() twice"
        self.events.append("lost")
        self.error = error
        self.lost.set_result(None)

    async def received(self, count):
        if len(self.data) < count:
            self.wanted = (count, asyncio.get_running_loop().create_future())
            await self.wanted[1]
        return self.data


@pytest.fixture
def run(loop):
    return loop.run_until_complete


async def connect(sock, protocol=Recorder):
    _, made = await asyncio.get_running_loop().create_connection(protocol, sock=sock)
    return made


async def ends(sockets, kind="tcp_pair"):
    """Two connected protocols."""
    left, right = getattr(sockets, kind)()
    return await connect(left), await connect(right)


async def close(*protocols):
    for protocol in protocols:
        protocol.transport.close()
    for protocol in protocols:
        await protocol.lost


async def receive_all(sock):
    """What comes on a plain socket until its end."""
    loop = asyncio.get_running_loop()
    data = b""
    while piece := await loop.sock_recv(sock, 1 << 20):
        data += piece
    return data


async def turns(count=50):
    for _ in range(count):
        await asyncio.sleep(0)


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
        protocol = Recorder()
        transport = loop._make_socket_transport(sockets.tcp_pair()[0], protocol)
        transport.abort()
        await protocol.lost
        assert protocol.events in (["made", "lost"], ["lost"])

    run(main())


def test_close_in_connection_made(run, sockets):
    class Closer(Recorder):
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
    class Closer(Recorder):
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


# Flow control.


def test_no_data_comes_while_reading_is_paused(run, sockets):
    async def main():
        left, right = await ends(sockets)
        left.transport.pause_reading()
        left.paused_reading = True
        assert not left.transport.is_reading()
        right.transport.write(b"held")
        await turns()
        assert left.data == b""
        left.paused_reading = False
        left.transport.resume_reading()
        assert left.transport.is_reading()
        await left.received(4)
        await close(left, right)

    run(main())


def test_pause_in_data_received_holds_the_rest(run, sockets):
    class Pauser(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()
            self.paused_reading = True
            asyncio.get_running_loop().call_soon(self.go_on)

        def go_on(self):
            self.paused_reading = False
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
                left.paused_reading = True
                await asyncio.sleep(0)
                left.paused_reading = False
            left.transport.resume_reading()
            left.transport.resume_reading()
        assert await left.received(300) == b"0123456789" * 30
        await close(left, right)

    run(main())


def test_end_of_stream_waits_while_reading_is_paused(run, sockets):
    async def main():
        left, right = await ends(sockets)
        left.transport.pause_reading()
        left.paused_reading = True
        right.transport.write(b"then the end")
        right.transport.close()
        await right.lost
        await turns()
        assert left.events == ["made"]
        left.paused_reading = False
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
    class Raiser(Recorder):
        pass

    def fail(self, *arguments):
        getattr(Recorder, callback)(self, *arguments)
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
    class Raiser(Recorder):
        pass

    def fail(self):
        getattr(Recorder, callback)(self)
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
    class Second(Recorder):
        pass

    class First(Recorder):
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


# Streams and servers.


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def echo_through(open_connection, data=LARGE):
    reader, writer = await open_connection
    reading = asyncio.ensure_future(reader.read(-1))
    writer.write(data)
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
        assert await reading == data
        writer.close()
    else:
        reading.cancel()
    await writer.wait_closed()


def test_streams_echo_over_tcp(run):
    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        await asyncio.gather(
            *(echo_through(asyncio.open_connection(*address), LARGE[:100_000]) for _ in range(20))
        )
        server.close()
        await server.wait_closed()

    run(main())


def test_streams_echo_over_a_unix_path(run, tmp_path):
    path = str(tmp_path / "socket")

    async def main():
        server = await asyncio.start_unix_server(echo, path)
        await echo_through(asyncio.open_unix_connection(path))
        server.close()
        await server.wait_closed()

    run(main())


def test_streams_read_lines_that_arrive_in_pieces(run, sockets):
    async def main():
        left, right = sockets.tcp_pair()
        reader, writer = await asyncio.open_connection(sock=left)
        right.send(b"one\ntw")
        assert await reader.readline() == b"one\n"
        right.send(b"o\nrest")
        assert await reader.readline() == b"two\n"
        right.close()
        assert await reader.read() == b"rest"
        writer.close()
        await writer.wait_closed()

    run(main())


def test_server_closed_stops_accepting_and_keeps_connections(run):
    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        server.close()
        await turns(3)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        writer.write(b"y")
        assert await reader.readexactly(1) == b"y"
        writer.close()
        await writer.wait_closed()
        await server.wait_closed()
        await turns()

    run(main())


def test_server_whose_factory_raises_goes_on(run, subject, errors):
    if subject.is_stock:
        pytest.skip("stock asyncio keeps such a connection open, and says so in debug mode only")
    made = []

    def factory():
        made.append(1)
        if len(made) == 1:
            raise LookupError("factory")
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), echo)

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        _, writer = await asyncio.open_connection(*address)
        while not errors:
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        await echo_through(asyncio.open_connection(*address), b"works")
        server.close()
        await server.wait_closed()

    run(main())
    assert [str(context["exception"]) for context in errors] == ["factory"]
    errors.clear()


def test_connection_refused_is_an_oserror(run, sockets):
    listener = sockets.listener()
    address = listener.getsockname()
    listener.close()

    async def main():
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)

    run(main())


# TLS.


def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def client_context():
    return ssl.create_default_context(cafile=CERTIFICATE)


def test_tls_echo(run):
    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
        )
        assert writer.get_extra_info("ssl_object") is not None
        writer.write(LARGE)
        assert await reader.readexactly(len(LARGE)) == LARGE
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await turns()

    run(main())


def test_start_tls_in_the_middle_of_a_connection(run):
    async def serve(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"OK\n")
        await writer.drain()
        await writer.start_tls(server_context())
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"OK\n"
        await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"secret\n")
        assert await reader.readline() == b"SECRET\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await turns()

    run(main())


def test_tls_with_a_certificate_that_is_not_trusted_fails(run):
    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context())
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                *server.sockets[0].getsockname(),
                ssl=ssl.create_default_context(),
                server_hostname="localhost",
            )
        server.close()
        await server.wait_closed()
        await turns()

    run(main())


# Files.


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    with path.open("rb") as opened:
        yield opened


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_sendfile_over_a_transport(run, file, tls):
    """Over TLS there is no sendfile(2): the loop falls back to reading and writing."""

    async def serve(reader, writer):
        loop = asyncio.get_running_loop()
        writer.write(b"head")
        assert await loop.sendfile(writer.transport, file, 1000, 500_000) == 500_000
        writer.write(b"tail")
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(
            serve, "127.0.0.1", 0, ssl=server_context() if tls else None
        )
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(),
            ssl=client_context() if tls else None,
            server_hostname="localhost" if tls else None,
        )
        assert await reader.read() == b"head" + LARGE[1000:501_000] + b"tail"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await turns()

    run(main())


def test_sendfile_without_fallback_refuses_what_the_kernel_cannot_do(run, sockets):
    class NoFile:
        mode = "rb"

        def read(self, count):
            raise AssertionError("no fallback was asked for")

    async def main():
        loop = asyncio.get_running_loop()
        left, right = await ends(sockets)
        with pytest.raises((RuntimeError, asyncio.SendfileNotAvailableError, AttributeError)):
            await loop.sendfile(left.transport, NoFile(), fallback=False)
        await close(left, right)

    run(main())


def test_sendfile_past_the_end_sends_what_there_is(run, file, sockets):
    async def main():
        loop = asyncio.get_running_loop()
        left, right = await ends(sockets)
        offset = len(LARGE) - 100
        assert await loop.sendfile(left.transport, file, offset, 1000) == 100
        assert await right.received(100) == LARGE[-100:]
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
