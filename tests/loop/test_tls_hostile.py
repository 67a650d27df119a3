"""TLS with peers that break it, say nothing, or read nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import threading
import weakref

import pytest
from tls_peer import Recorder, TlsPeer, accepted

import headrace

pytestmark = pytest.mark.usefixtures("tls_engine")

MIB = 1024 * 1024
WAIT_S_MAX = 10
# Far more than the sockets' buffers hold, and than any limit of ours.
FLOOD_BYTES = 24 * MIB


@contextlib.asynccontextmanager
async def plain_client_of(server_tls, protocol_factory=Recorder, **options):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol_factory, "127.0.0.1", 0, ssl=server_tls, **options)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        server.close()
        await server.wait_closed()


def test_garbage_after_the_handshake_ends_the_connection(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            peer.writer.write(b"this is no record at all")
            error = await protocol.lost
            assert isinstance(error, ssl.SSLError)
            assert error.library == "SSL"
            assert error.reason in ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG")
            assert protocol.calls == ["made", "lost"]

    run(main())


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_ciphertext_may_come_in_any_buffer(headrace_run, server_tls, client_tls, kind):
    """From the transport of another library, for which this is a protocol like any other."""

    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            peer.tls.write(b"hello")
            protocol.transport.data_received(kind(peer.outgoing.read()))
            assert protocol.data == b"hello"
            for nonsense in (None, "text", 5):
                with pytest.raises(TypeError):
                    protocol.transport.data_received(nonsense)
            protocol.transport.abort()
            assert await protocol.lost is None

    headrace_run(main())


def test_record_that_was_changed_on_the_way_ends_the_connection(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            peer.tls.write(b"pay 10 euros")
            record = bytearray(peer.outgoing.read())
            record[10] ^= 1
            peer.writer.write(record)
            error = await protocol.lost
            assert isinstance(error, ssl.SSLError)
            assert error.reason == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
            assert protocol.calls == ["made", "lost"]

    run(main())


def test_record_that_comes_twice_ends_the_connection(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            peer.tls.write(b"once")
            record = peer.outgoing.read()
            peer.writer.write(record)
            await protocol.until(lambda: protocol.data)
            peer.writer.write(record)
            assert isinstance(await protocol.lost, ssl.SSLError)
            assert protocol.data == b"once"

    run(main())


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(500)])
def test_no_handshake_makes_no_protocol(run, server_tls, noise):
    made = []

    class Never(Recorder):
        def connection_made(self, transport):
            made.append(transport)

    async def main():
        async with plain_client_of(server_tls, Never) as (reader, writer):
            writer.write(noise)
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
        assert not made

    run(main())


def test_failed_handshake_tells_the_peer_why(headrace_run, server_tls, certificate):
    """RFC 8446 section 6.2; stock asyncio hangs up."""
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(certificate)
    strict.minimum_version = ssl.TLSVersion.TLSv1_3
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(certificate)
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    async def main():
        async with plain_client_of(strict) as (reader, writer):
            peer = TlsPeer(reader, writer, old, server_hostname="localhost")
            with pytest.raises(ssl.SSLError) as raised:
                await peer.handshake()
            assert raised.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"

    headrace_run(main())


def test_client_that_does_not_trust_says_so(headrace_run, headrace_loop, server_tls):
    """The server's side of the wire sees the alert, not just the end."""
    trusting_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def main():
        alert = headrace_loop.create_future()

        async def serve(reader, writer):
            peer = TlsPeer(reader, writer, server_tls, server_side=True)
            try:
                await peer.handshake()
                await peer.until_done(peer.tls.read, 1)
            except (ssl.SSLError, EOFError) as error:
                alert.set_result(error)
            finally:
                peer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match=r"self.signed certificate"):
                await headrace_loop.create_connection(
                    Recorder,
                    *server.sockets[0].getsockname(),
                    ssl=trusting_nobody,
                    server_hostname="localhost",
                )
            assert (await alert).reason == "TLSV1_ALERT_UNKNOWN_CA"

    headrace_run(main())


def test_certificate_of_another_host_fails_the_connect(run, loop, server_tls, client_tls):
    async def main():
        async with plain_client_of(server_tls) as (_, writer):
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                await loop.create_connection(
                    Recorder,
                    *writer.get_extra_info("peername"),
                    ssl=client_tls,
                    server_hostname="elsewhere",
                )

    run(main())


@pytest.mark.parametrize("bytes_sent", [0, 5, 200])
def test_peer_that_falls_silent_in_the_handshake_is_given_up(
    run, loop, server_tls, client_tls, bytes_sent
):
    async def main():
        options = {"ssl_handshake_timeout": 0.05}
        async with plain_client_of(server_tls, **options) as (reader, writer):
            peer = TlsPeer(reader, writer, client_tls, server_hostname="localhost")
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            writer.write(peer.outgoing.read()[:bytes_sent])
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""

    run(main())


def test_what_comes_after_pause_reading_waits_and_is_bounded(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            transport = protocol.transport
            transport.pause_reading()
            assert not transport.is_reading()
            sending = asyncio.create_task(peer.send(bytes(FLOOD_BYTES)))
            done, _ = await asyncio.wait({sending}, timeout=0.3)
            assert not done
            assert protocol.calls == ["made"]
            assert transport.get_read_buffer_size() < 2 * MIB
            transport.resume_reading()
            assert protocol.calls == ["made"]
            await protocol.until(lambda: len(protocol.data) == FLOOD_BYTES)
            await sending
            assert protocol.data.count(0) == FLOOD_BYTES
            transport.abort()
            await protocol.lost

    run(main())


def test_end_while_reading_is_paused_comes_after_the_data(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            protocol.transport.pause_reading()
            await peer.send(b"data before the end")
            peer.writer.write_eof()
            await asyncio.sleep(0.05)
            assert protocol.calls == ["made"]
            protocol.transport.resume_reading()
            assert await protocol.lost is None
            assert protocol.calls == ["made", "data", "eof", "lost"]

    run(main())


class Sipping(Recorder, asyncio.BufferedProtocol):
    """Takes little at a time, and pauses after each."""

    buffer_size = 4096

    def connection_made(self, transport):
        self.buffer = bytearray(self.buffer_size)
        super().connection_made(transport)

    def get_buffer(self, _sizehint):
        return self.buffer

    def buffer_updated(self, size):
        self.data += self.buffer[:size]
        self.note("data")
        self.transport.pause_reading()
        asyncio.get_running_loop().call_soon(self.transport.resume_reading)


def test_pauses_between_the_end_and_the_last_data_lose_nothing(
    headrace_run, server_tls, client_tls
):
    """Stock asyncio delivers the first buffer, and then a clean end."""

    async def main():
        data = os.urandom(100_000)
        async with accepted(server_tls, client_tls, Sipping) as (protocol, peer):
            protocol.transport.pause_reading()
            await peer.send(data)
            peer.writer.write_eof()
            await asyncio.sleep(0.05)
            assert protocol.calls == ["made"]
            protocol.transport.resume_reading()
            assert await protocol.lost is None
            assert protocol.data == data
            assert protocol.told() == ["made", "data", "eof", "lost"]

    headrace_run(main())


def test_close_ends_a_connection_that_is_paused_after_the_peers_end(
    headrace_run, server_tls, client_tls
):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            protocol.transport.pause_reading()
            await peer.send(b"never read")
            peer.writer.write_eof()
            await asyncio.sleep(0.05)
            assert protocol.calls == ["made"]
            protocol.transport.close()
            assert protocol.transport.is_closing()
            assert await protocol.lost is None
            assert "data" not in protocol.calls

    headrace_run(main())


def test_close_bounds_the_wait_for_a_peer_that_has_ended_and_does_not_read(
    headrace_run, server_tls, client_tls
):
    async def main():
        options = {"ssl_shutdown_timeout": 0.1}
        async with accepted(server_tls, client_tls, **options) as (protocol, peer):
            protocol.transport.write(bytes(FLOOD_BYTES))
            peer.writer.write_eof()
            await asyncio.sleep(0.2)
            # The program has not closed yet, so there is no limit: the peer may read slowly.
            assert not protocol.lost.done()
            protocol.transport.close()
            assert isinstance(await protocol.lost, TimeoutError)

    headrace_run(main())


def test_pause_reading_in_data_received_holds(run, server_tls, client_tls):
    class Pausing(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    async def main():
        async with accepted(server_tls, client_tls, Pausing) as (protocol, peer):
            for expected in (b"1", b"12", b"123"):
                await peer.send(expected[-1:])
                await protocol.until(lambda expected=expected: protocol.data == expected)
                await peer.send(b"")
                protocol.transport.resume_reading()
            protocol.transport.abort()
            await protocol.lost

    run(main())


def test_interrupt_in_a_callback_leaves_the_rest_for_the_next_run(
    headrace_loop, server_tls, client_tls
):
    class Interrupted(Sipping):
        buffer_size = 1000

        def buffer_updated(self, size):
            self.data += self.buffer[:size]
            self.note("data")
            if len(self.calls) in (2, 3):
                raise KeyboardInterrupt

    async def main():
        async with accepted(server_tls, client_tls, Interrupted) as (protocol, peer):
            await peer.send(bytes(5000))
            await protocol.until(lambda: len(protocol.data) == 5000)
            protocol.transport.abort()
            await protocol.lost

    task = headrace_loop.create_task(main())
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            headrace_loop.run_until_complete(task)
    headrace_loop.run_until_complete(asyncio.wait_for(task, WAIT_S_MAX))


def test_peer_that_does_not_read_pauses_the_writer(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            transport = protocol.transport
            written = 0
            while "pause" not in protocol.calls:
                transport.write(bytes(64 * 1024))
                written += 64 * 1024
                assert written < FLOOD_BYTES * 4
                await asyncio.sleep(0)
            size = transport.get_write_buffer_size()
            low, high = transport.get_write_buffer_limits()
            assert (low, high) == (128 * 1024, 512 * 1024)
            assert high <= size < high + 256 * 1024
            assert (await peer.receive(written)).count(0) == written
            await protocol.until(lambda: "resume" in protocol.calls)
            assert protocol.told() == ["made", "pause", "resume"]
            transport.abort()
            await protocol.lost

    run(main())


def test_write_buffer_limits_can_be_set(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, _):
            transport = protocol.transport
            transport.set_write_buffer_limits(high=1000)
            assert transport.get_write_buffer_limits() == (250, 1000)
            transport.set_read_buffer_limits(low=100)
            assert transport.get_read_buffer_limits() == (100, 400)
            with pytest.raises(ValueError, match="must be >= low"):
                transport.set_write_buffer_limits(high=1, low=2)
            transport.abort()
            await protocol.lost

    run(main())


def test_error_in_pause_writing_is_told_and_not_fatal(
    headrace_run, server_tls, client_tls, complaints
):
    class Failing(Recorder):
        def pause_writing(self):
            super().pause_writing()
            raise ZeroDivisionError

    async def main():
        async with accepted(server_tls, client_tls, Failing) as (protocol, peer):
            protocol.transport.write(bytes(FLOOD_BYTES))
            assert len(await peer.receive(FLOOD_BYTES)) == FLOOD_BYTES
            await protocol.until(lambda: "resume" in protocol.calls)
            protocol.transport.abort()
            await protocol.lost

    headrace_run(main())
    (complaint,) = complaints
    assert complaint["message"] == "protocol.pause_writing() failed"
    complaints.clear()


def test_what_the_peer_sends_after_close_costs_nothing_of_what_was_written(
    headrace_run, server_tls, client_tls
):
    """Stock asyncio ends the connection with APPLICATION_DATA_AFTER_CLOSE_NOTIFY."""

    async def main():
        data = os.urandom(FLOOD_BYTES)
        async with accepted(server_tls, client_tls) as (protocol, peer):
            protocol.transport.write(data)
            protocol.transport.close()
            for _ in range(10):
                await peer.send(b"are you still there?" * 100)
                assert len(await peer.receive(MIB)) == MIB
            rest = await peer.receive(FLOOD_BYTES - 10 * MIB)
            assert rest == data[10 * MIB :]
            await peer.receive_close_notify()
            await peer.unwrap()
            assert await protocol.lost is None
            assert "data" not in protocol.calls

    headrace_run(main())


def test_reset_with_data_under_way_is_the_connections_end(run, server_tls, client_tls, reset):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            protocol.transport.write(bytes(FLOOD_BYTES))
            sock = peer.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.writer.transport.abort()
            error = await protocol.lost
            assert isinstance(error, ConnectionResetError | BrokenPipeError)

    run(main())


def test_aborted_handshakes_leave_nothing_behind(headrace_run, headrace_loop, server_tls):
    """A thousand clients that hang up after part of a hello."""
    remembered = weakref.WeakSet()

    class Remembered(Recorder):
        def __init__(self):
            super().__init__()
            remembered.add(self)

    async def hang_up(address, bytes_sent):
        _reader, writer = await asyncio.open_connection(*address)
        writer.write((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600))[:bytes_sent])
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def main():
        server = await headrace_loop.create_server(Remembered, "127.0.0.1", 0, ssl=server_tls)
        address = server.sockets[0].getsockname()
        for _ in range(20):
            await asyncio.gather(*(hang_up(address, 13 * n) for n in range(50)))
        server.close()
        await server.wait_closed()
        for _ in range(20):
            await asyncio.sleep(0.01)
        gc.collect()
        assert len(remembered) == 0

    headrace_run(main())


def test_connections_are_freed_without_the_collector(headrace_run, server_tls, client_tls):
    async def main():
        freed = []
        for _ in range(10):
            async with accepted(server_tls, client_tls) as (protocol, peer):
                weakref.finalize(protocol.transport, freed.append, 1)
                protocol.transport.write(b"x" * 100)
                assert len(await peer.receive(100)) == 100
                await peer.unwrap()
                await protocol.lost
                protocol.transport = None
        await asyncio.sleep(0)
        assert len(freed) == 10

    gc.collect()
    gc.disable()
    try:
        headrace_run(main())
    finally:
        gc.enable()


def test_context_is_freed_when_the_loop_has_ended(headrace_loop, model, server_tls, certificate):
    """Without the collector, and though the loop ends as soon as the program is done."""

    class Client(asyncio.Protocol):
        def __init__(self):
            self.heard = headrace_loop.create_future()
            self.ended = headrace_loop.create_future()

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.heard.set_result(data)

        def eof_received(self):
            self.ended.set_result(None)

    def serve(listener):
        tls = server_tls.wrap_socket(listener.accept()[0], server_side=True)
        with tls:
            tls.sendall(b"hello")
            assert tls.recv(100) == b"bye"
            tls.unwrap().close()

    async def main(address, context):
        transport, protocol = await headrace_loop.create_connection(
            Client, *address, ssl=context, server_hostname="localhost"
        )
        assert await protocol.heard == b"hello"
        transport.write(b"bye")
        await protocol.ended
        transport.close()

    context = ssl.create_default_context(cafile=certificate)
    remembered = weakref.ref(context)
    gc.collect()
    gc.disable()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = threading.Thread(target=serve, args=(listener,), daemon=True)
            server.start()
            headrace_loop.run_until_complete(main(listener.getsockname(), context))
            server.join(WAIT_S_MAX)
        if model in ("blocking", "aio"):
            # There close_notify may still be on its way, by a thread or the kernel's queue: the
            # connection has not ended with the loop.
            headrace_loop.run_until_complete(asyncio.sleep(0.1))
        del context
        assert remembered() is None
    finally:
        gc.enable()


def test_error_in_connection_lost_is_told(headrace_run, server_tls, client_tls, complaints):
    class Failing(Recorder):
        def connection_lost(self, exc):
            super().connection_lost(exc)
            raise ZeroDivisionError

    async def main():
        async with accepted(server_tls, client_tls, Failing) as (protocol, _peer):
            protocol.transport.abort()
            assert await protocol.lost is None

    headrace_run(main())
    (complaint,) = complaints
    assert isinstance(complaint["exception"], ZeroDivisionError)
    complaints.clear()


def test_ssl_object_may_be_used_after_the_connections_end(headrace_run, server_tls, client_tls):
    """It holds the buffers that OpenSSL reads and writes, and they must live with it."""

    async def main():
        async with accepted(server_tls, client_tls) as (protocol, _peer):
            tls = protocol.transport.get_extra_info("ssl_object")
            protocol.transport.abort()
            await protocol.lost
            protocol.transport = None
        return tls

    tls = headrace_run(main())
    gc.collect()
    assert tls.pending() == 0
    assert tls.write(b"to nobody" * 1000) == 9000
    with pytest.raises(ssl.SSLWantReadError):
        tls.read(1)
    with pytest.raises(ssl.SSLWantReadError):
        tls.unwrap()


def test_ssl_object_may_be_emptied_by_the_program(headrace_run, server_tls, client_tls, tls_engine):
    """What OpenSSL has of the connection must outlive the object that Python has of it."""
    if tls_engine == "ssl":
        pytest.skip("without the object this engine has nothing")

    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            inner = weakref.ref(protocol.transport.get_extra_info("ssl_object"))
            inner()._sslobj = None
            gc.collect()
            # Whatever was freed is overwritten.
            scrap = [bytearray(b"\xee" * size) for size in range(2000, 9000, 16)]
            protocol.transport.write(b"x" * 5000)
            assert await peer.receive(5000) == b"x" * 5000
            del scrap
            protocol.transport.abort()
            await protocol.lost

    headrace_run(main())


def test_loop_closed_with_a_connection_open_ends_clean(model, server_tls, client_tls):
    loop = headrace.new_event_loop(model)
    manager = accepted(server_tls, client_tls)

    async def main():
        protocol, peer = await manager.__aenter__()
        protocol.transport.write(b"never read" * 1000)
        return protocol, peer

    protocol, peer = loop.run_until_complete(main())
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        protocol.transport.abort()
    protocol.transport.write(b"too late")
    with contextlib.suppress(RuntimeError):
        peer.writer.transport.abort()
    del protocol, peer
    # The generator of the context manager belongs to the loop that is closed.
    with contextlib.suppress(RuntimeError):
        manager.gen.aclose().send(None)
