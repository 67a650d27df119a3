"""TLS: what a program's protocol and its transport promise each other, with each engine."""

from __future__ import annotations

import asyncio
import contextvars
import os
import ssl

import pytest
from tls_peer import Recorder, accepted

pytestmark = pytest.mark.usefixtures("tls_engine")

MIB = 1024 * 1024


def test_transport_knows_its_connection(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            transport = protocol.transport
            assert isinstance(transport, asyncio.Transport)
            assert "SSL" in transport.__class__.__name__
            assert transport.get_protocol() is protocol
            assert transport.get_extra_info("sslcontext") is server_tls
            assert transport.get_extra_info("ssl_object").version() == peer.tls.version()
            assert transport.get_extra_info("cipher") == peer.tls.cipher()
            assert transport.get_extra_info("peercert") is None
            assert transport.get_extra_info("compression") is None
            assert transport.get_extra_info("peername") == peer.writer.get_extra_info("sockname")
            assert transport.get_extra_info("socket").fileno() >= 0
            assert transport.get_extra_info("no such thing", 7) == 7
            assert transport.is_reading()
            assert not transport.is_closing()
            assert not transport.can_write_eof()
            with pytest.raises(NotImplementedError):
                transport.write_eof()
            with pytest.raises(TypeError, match="expecting a bytes-like instance, got str"):
                transport.write("text")
            transport.attribute_of_a_program = 1
            assert transport.attribute_of_a_program == 1
            transport.abort()
            assert transport.is_closing()
            assert await protocol.lost is None

    run(main())


def test_engine_is_the_one_asked_for(headrace_run, server_tls, client_tls, tls_engine):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, _peer):
            assert protocol.transport.engine_name == tls_engine
            assert f"engine={tls_engine}" in repr(protocol.transport)
            protocol.transport.abort()
            await protocol.lost

    headrace_run(main())


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 100_000, 3 * MIB])
def test_data_arrive_in_both_directions(run, server_tls, client_tls, size):
    async def main():
        data = os.urandom(size)
        async with accepted(server_tls, client_tls) as (protocol, peer):
            sending = asyncio.create_task(peer.send(data))
            await protocol.until(lambda: len(protocol.data) == size)
            await sending
            assert protocol.data == data
            protocol.transport.write(data)
            assert await peer.receive(size) == data
            protocol.transport.abort()
            await protocol.lost

    run(main())


def test_all_that_was_received_comes_at_once(run, server_tls, client_tls):
    """Several records of one segment are one data_received()."""

    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            for _ in range(20):
                peer.tls.write(b"x" * 100)
            await peer.flush()
            await protocol.until(lambda: protocol.data)
            assert protocol.data == b"x" * 2000
            assert protocol.calls == ["made", "data"]
            protocol.transport.abort()
            await protocol.lost

    run(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_bytes_one_at_a_time_are_a_handshake_and_data(run, server_tls, certificate, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    context.minimum_version = context.maximum_version = version

    async def main():
        async with accepted(server_tls, context, step=1) as (protocol, peer):
            await peer.send(b"abc" * 300)
            await protocol.until(lambda: len(protocol.data) == 900)
            assert protocol.data == b"abc" * 300
            protocol.transport.write(b"answer")
            assert await peer.receive(6) == b"answer"
            protocol.transport.abort()
            await protocol.lost

    run(main())


def test_writes_of_a_turn_are_one_record(headrace_run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            protocol.transport.write(b"before")
            assert await peer.receive(6) == b"before"
            peer.received_raw.clear()
            for _ in range(100):
                protocol.transport.write(b"0123456789")
            protocol.transport.writelines([b"ab", bytearray(b"cd"), memoryview(b"ef")])
            assert await peer.receive(1006) == b"0123456789" * 100 + b"abcdef"
            assert len(peer.application_records()) == 1
            protocol.transport.abort()
            await protocol.lost

    headrace_run(main())


def test_large_writes_of_a_turn_stay_in_order(run, server_tls, client_tls):
    async def main():
        pieces = [os.urandom(size) for size in (10, 5000, 10, 20_000, 3, 100_000, 16384, 1)]
        async with accepted(server_tls, client_tls) as (protocol, peer):
            for piece in pieces:
                protocol.transport.write(piece)
            whole = b"".join(pieces)
            assert await peer.receive(len(whole)) == whole
            protocol.transport.abort()
            await protocol.lost

    run(main())


def test_what_is_written_may_be_changed_afterwards(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            data = bytearray(b"as it was")
            protocol.transport.write(data)
            data[:] = b"changed.."
            assert await peer.receive(9) == b"as it was"
            protocol.transport.abort()
            await protocol.lost

    run(main())


def test_close_sends_what_was_written_then_close_notify(run, server_tls, client_tls):
    async def main():
        data = os.urandom(4 * MIB)
        async with accepted(server_tls, client_tls) as (protocol, peer):
            protocol.transport.write(data)
            protocol.transport.close()
            assert protocol.transport.is_closing()
            protocol.transport.write(b"too late")
            protocol.transport.close()
            assert await peer.receive(len(data)) == data
            await peer.receive_close_notify()
            await peer.unwrap()
            assert await protocol.lost is None

    run(main())


def test_close_notify_of_the_peer_is_eof_and_the_end(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            peer.tls.write(b"last words")
            await peer.unwrap()
            assert await protocol.lost is None
            assert protocol.data == b"last words"
            assert protocol.calls == ["made", "data", "eof", "lost"]

    run(main())


def test_eof_received_that_wants_to_stay_open_is_warned_of(run, server_tls, client_tls, caplog):
    class Staying(Recorder):
        def eof_received(self):
            return True

    async def main():
        async with accepted(server_tls, client_tls, Staying) as (protocol, peer):
            await peer.unwrap()
            assert await protocol.lost is None

    run(main())
    assert "returning true from eof_received() has no effect when using ssl" in caplog.text


def test_end_without_close_notify_is_eof_and_the_end(run, server_tls, client_tls):
    """A truncation attack looks like this: who needs to know must see the end in the data."""

    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            await peer.send(b"half a sen")
            peer.writer.write_eof()
            assert await protocol.lost is None
            assert protocol.calls == ["made", "data", "eof", "lost"]

    run(main())


def test_half_a_record_is_not_data(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            peer.tls.write(b"secret")
            peer.writer.write(peer.outgoing.read()[:-1])
            peer.writer.write_eof()
            await protocol.lost
            assert protocol.calls == ["made", "eof", "lost"]

    run(main())


def test_shutdown_that_is_not_answered_times_out(run, server_tls, client_tls):
    async def main():
        options = {"ssl_shutdown_timeout": 0.05}
        async with accepted(server_tls, client_tls, **options) as (protocol, peer):
            protocol.transport.close()
            error = await protocol.lost
            assert isinstance(error, TimeoutError)
            assert str(error) == "SSL shutdown timed out"
            await peer.receive_close_notify()

    run(main())


@pytest.mark.parametrize("timeout", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_timeout_must_be_positive(run, loop, server_tls, client_tls, timeout):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, _):
            with pytest.raises(ValueError, match=f"{timeout} should be a positive number, got 0"):
                await loop.start_tls(protocol.transport, protocol, client_tls, **{timeout: 0})
            protocol.transport.abort()
            await protocol.lost

    run(main())


def test_abort_tells_the_protocol_once(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            protocol.transport.write(b"x" * 8 * MIB)
            protocol.transport.abort()
            protocol.transport.abort()
            protocol.transport.close()
            assert protocol.calls.count("lost") == 0
            assert await protocol.lost is None
            with pytest.raises((EOFError, OSError)):
                await peer.receive(8 * MIB)

    run(main())


@pytest.mark.prompt
def test_write_then_abort_sends_what_the_kernel_takes(run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            protocol.transport.write(b"before")
            assert await peer.receive(6) == b"before"
            protocol.transport.write(b"goodbye")
            protocol.transport.abort()
            assert await peer.receive(7) == b"goodbye"
            await protocol.lost

    run(main())


def test_writes_after_the_end_are_dropped_and_logged(run, server_tls, client_tls, caplog):
    async def main():
        async with accepted(server_tls, client_tls) as (protocol, _peer):
            protocol.transport.abort()
            await protocol.lost
            for _ in range(10):
                protocol.transport.write(b"lost")
            assert protocol.transport.get_write_buffer_size() == 0

    run(main())
    assert "SSL connection is closed" in caplog.text


def test_error_in_data_received_ends_the_connection(run, server_tls, client_tls, complaints):
    class Failing(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError

    async def main():
        async with accepted(server_tls, client_tls, Failing) as (protocol, peer):
            await peer.send(b"x")
            assert isinstance(await protocol.lost, ZeroDivisionError)

    run(main())
    (complaint,) = complaints
    assert complaint["message"] == "Fatal error on SSL protocol"
    assert isinstance(complaint["exception"], ZeroDivisionError)
    complaints.clear()


def test_keyboard_interrupt_in_data_received_ends_the_run_not_the_connection(
    loop, run, server_tls, client_tls
):
    class Interrupted(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if data == b"interrupt":
                raise KeyboardInterrupt

    async def main():
        async with accepted(server_tls, client_tls, Interrupted) as (protocol, peer):
            await peer.send(b"interrupt")
            await protocol.until(lambda: protocol.data)
            await peer.send(b" and on")
            await protocol.until(lambda: protocol.data == b"interrupt and on")
            protocol.transport.abort()
            await protocol.lost

    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    run(task)


def test_callbacks_run_in_the_context_of_the_connection(run, loop, server_tls, client_tls):
    variable = contextvars.ContextVar("variable", default="outside")

    class Noting(Recorder):
        def __init__(self):
            super().__init__()
            self.contexts = []

        def note(self, call):
            super().note(call)
            self.contexts.append(variable.get())

    async def main():
        token = variable.set("at the server's start")
        manager = accepted(server_tls, client_tls, Noting)
        protocol, peer = await manager.__aenter__()
        variable.reset(token)
        await peer.send(b"x")
        await peer.unwrap()
        await protocol.lost
        assert protocol.calls == ["made", "data", "eof", "lost"]
        assert set(protocol.contexts) == {"at the server's start"}
        await manager.__aexit__(None, None, None)

    run(main())


def test_set_protocol_in_data_received_holds_for_what_follows(run, server_tls, client_tls):
    async def main():
        second = Recorder()

        class First(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.set_protocol(second)

        async with accepted(server_tls, client_tls, First) as (first, peer):
            await peer.send(b"one")
            await first.until(lambda: first.data)
            await peer.send(b"two")
            await second.until(lambda: second.data)
            assert (first.data, second.data) == (b"one", b"two")
            first.transport.abort()
            await second.lost

    run(main())


class Buffered(asyncio.BufferedProtocol):
    """Takes a few bytes at a time, and becomes an ordinary protocol when told so."""

    def __init__(self, size=7):
        self.buffer = bytearray(size)
        self.data = bytearray()
        self.made = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()
        self.successor = None

    def connection_made(self, transport):
        self.transport = transport
        self.made.set_result(None)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data += self.buffer[:nbytes]
        # Forbidden while somebody holds a view of it.
        self.buffer.append(0)
        if self.successor is not None:
            self.transport.set_protocol(self.successor)

    def connection_lost(self, exc):
        self.lost.set_result(exc)


def test_buffered_protocol_gets_all_of_it(headrace_run, server_tls, client_tls):
    """Not on stock asyncio, which from the second record on fills a copy of a bytearray."""

    async def main():
        data = os.urandom(50_000)
        async with accepted(server_tls, client_tls, Buffered) as (protocol, peer):
            await peer.send(data)
            await peer.unwrap()
            assert await protocol.lost is None
            assert protocol.data == data

    headrace_run(main())


def test_buffered_protocol_may_hand_over_to_an_ordinary_one(headrace_run, server_tls, client_tls):
    async def main():
        async with accepted(server_tls, client_tls, Buffered) as (protocol, peer):
            protocol.successor = Recorder()
            await peer.send(b"0123456789")
            await protocol.successor.until(lambda: protocol.successor.data)
            assert (protocol.data, protocol.successor.data) == (b"0123456", b"789")
            protocol.transport.abort()
            await protocol.successor.lost

    headrace_run(main())


def test_empty_buffer_of_a_protocol_is_an_error(headrace_run, server_tls, client_tls, complaints):
    async def main():
        async with accepted(server_tls, client_tls, lambda: Buffered(0)) as (protocol, peer):
            await peer.send(b"x")
            assert "empty buffer" in str(await protocol.lost)

    headrace_run(main())
    assert "empty buffer" in str(complaints.pop()["exception"])
