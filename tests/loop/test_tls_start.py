"""TLS that begins later, inside TLS, or in another way than ours; and what the contexts ask for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
from asyncio import sslproto

import pytest
from echoing import Echo, check_echo, serving
from tls_peer import Recorder, TlsPeer, accepted

from headrace.kernel.kernel_tls import kernel_tls_refusal
from headrace.loop.openssl import unavailable_reason
from headrace.loop.tls import tls_protocol

pytestmark = pytest.mark.usefixtures("tls_engine")


class Upgraded(Recorder):
    """A server's protocol that becomes TLS *depth* times, one word of the client each."""

    depth = 1
    context = None
    early = b""

    def data_received(self, data):
        if self.depth and data == b"STARTTLS":
            self.depth -= 1
            self.upgrade = asyncio.get_running_loop().create_task(self.start())
        elif self.transport is None:
            # The first data may come before start_tls() has brought its caller the transport.
            self.early += data
        else:
            self.transport.write(data)

    async def start(self):
        loop = asyncio.get_running_loop()
        transport, self.transport = self.transport, None
        transport.write(b"go")
        self.transport = await loop.start_tls(transport, self, self.context, server_side=True)
        early, self.early = self.early, b""
        if early:
            self.data_received(early)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_start_tls_and_tls_inside_tls_echo(run, loop, server_tls, client_tls, depth):
    protocols = []

    def factory():
        protocols.append(Upgraded())
        protocols[-1].depth, protocols[-1].context = depth, server_tls
        return protocols[-1]

    async def main():
        server = await loop.create_server(factory, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(depth):
            writer.write(b"STARTTLS")
            assert await reader.readexactly(2) == b"go"
            await writer.start_tls(client_tls, server_hostname="localhost")
        for message in (b"hello", os.urandom(200_000)):
            writer.write(message)
            await writer.drain()
            assert await reader.readexactly(len(message)) == message
        writer.close()
        await writer.wait_closed()
        assert await protocols[0].lost is None
        assert protocols[0].calls.count("made") == 1
        server.close()
        await server.wait_closed()

    run(main())


def test_start_tls_that_fails_closes_the_connection(run, loop, server_tls):
    async def main():
        async with serving("127.0.0.1", 0) as server:
            transport, protocol = await loop.create_connection(
                Recorder, *server.sockets[0].getsockname()
            )
            # An echo of a hello is no hello.
            with pytest.raises(ssl.SSLError):
                await loop.start_tls(
                    transport,
                    protocol,
                    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                    server_hostname="localhost",
                )
            await protocol.lost

    run(main())


def test_start_tls_that_is_cancelled_closes_the_connection(run, loop, server_tls):
    async def main():
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
            transport, protocol = await loop.create_connection(
                Recorder, *server.sockets[0].getsockname()
            )
            starting = asyncio.create_task(
                loop.start_tls(transport, protocol, server_tls, server_side=True)
            )
            await asyncio.sleep(0.01)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            assert transport.is_closing()
            await asyncio.sleep(0.01)

    async def silent(reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    run(main())


def test_start_tls_refuses_what_it_cannot_use(run, loop, server_tls):
    async def main():
        async with serving("127.0.0.1", 0) as server:
            transport, protocol = await loop.create_connection(
                Recorder, *server.sockets[0].getsockname()
            )
            with pytest.raises(TypeError, match=r"instance of ssl\.SSLContext, got None"):
                await loop.start_tls(transport, protocol, None)
            with pytest.raises(TypeError, match="is not supported by start_tls"):
                await loop.start_tls(asyncio.Transport(), protocol, server_tls)
            transport.close()
            await protocol.lost

    run(main())


def test_names_of_asyncios_protocol_are_there(headrace_run, server_tls, client_tls):
    """Some programs go from the transport to what lies below it."""

    async def main():
        async with accepted(server_tls, client_tls) as (protocol, _):
            transport = protocol.transport
            below = transport._ssl_protocol
            assert below._app_transport is transport
            assert below._app_protocol is protocol
            assert below._sslcontext is server_tls
            assert below._sslobj is transport.get_extra_info("ssl_object")
            assert below._loop is asyncio.get_running_loop()
            assert below._transport.get_extra_info("peername")
            transport.abort()
            await protocol.lost

    headrace_run(main())


# Whose code it is.


class Subclass(ssl.SSLContext):
    pass


class OwnObject(ssl.SSLObject):
    pass


def subclass(certificate):
    context = Subclass(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def with_own_object(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sslobject_class = OwnObject
    return context


class Duck:
    """Looks like a context, as pyOpenSSL's wrappers do."""

    def __init__(self, certificate):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)

    def wrap_bio(self, *arguments, **options):
        return self.context.wrap_bio(*arguments, **options)


@pytest.mark.parametrize("make", [subclass, with_own_object])
def test_context_of_another_kind_gets_asyncios_tls(headrace_run, certificate, client_tls, make):
    async def main():
        async with accepted(make(certificate), client_tls) as (protocol, peer):
            assert isinstance(protocol.transport._ssl_protocol, sslproto.SSLProtocol)
            protocol.transport.write(b"hello")
            assert await peer.receive(5) == b"hello"
            protocol.transport.abort()
            await protocol.lost

    headrace_run(main())


def test_duck_of_a_context_gets_asyncios_tls(headrace_run, headrace_loop, certificate):
    """create_server() insists on the type, create_connection() does not."""

    async def main():
        made = tls_protocol(
            headrace_loop, Recorder(), Duck(certificate), headrace_loop.create_future(), True
        )
        assert isinstance(made, sslproto.SSLProtocol)
        made._app_transport._closed = True

    headrace_run(main())


def test_variable_asks_for_asyncios_tls(headrace_run, server_tls, client_tls, monkeypatch):
    monkeypatch.setenv("HEADRACE_TLS", "asyncio")

    async def main():
        async with accepted(server_tls, client_tls) as (protocol, _peer):
            assert isinstance(protocol.transport._ssl_protocol, sslproto.SSLProtocol)
            protocol.transport.abort()
            await protocol.lost

    headrace_run(main())


def test_variable_that_means_nothing_is_refused(headrace_run, client_tls, monkeypatch):
    monkeypatch.setenv("HEADRACE_TLS", "none")

    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        with (
            near,
            far,
            pytest.raises(ValueError, match="HEADRACE_TLS=none: must be asyncio or ssl"),
        ):
            await loop.create_connection(Recorder, sock=near, ssl=client_tls, server_hostname="x")

    headrace_run(main())


def test_context_that_is_listened_to_is_not_bypassed(headrace_run, server_tls, client_tls):
    heard = []
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    listening.check_hostname, listening.verify_mode = False, ssl.CERT_NONE
    listening._msg_callback = lambda *arguments: heard.append(arguments[1])

    async def main():
        async with serving("127.0.0.1", 0, ssl=server_tls) as server:
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_connection(
                Recorder, *server.sockets[0].getsockname(), ssl=listening
            )
            assert transport.engine_name == "ssl"
            transport.write(b"hello")
            await protocol.until(lambda: protocol.data == b"hello")
            transport.close()
            await protocol.lost

    headrace_run(main())
    assert {"read", "write"} <= set(heard)


def test_openssl_is_called_directly_on_the_pythons_we_know():
    """Not so where Python is linked statically or ssl is no OpenSSL: then say so here."""
    assert unavailable_reason() == ""


def test_kernel_tls_is_detected():
    with open("/proc/sys/net/ipv4/tcp_available_ulp", encoding="ascii") as file:
        loaded = "tls" in file.read().split()
    assert (kernel_tls_refusal() == "") == loaded


# What contexts ask for.


def test_client_certificate_and_alpn_and_session_are_ssls(run, loop, certificate, client_tls):
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.load_cert_chain(certificate)
    asking.load_verify_locations(certificate)
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.set_alpn_protocols(["h2", "http/1.1"])
    answering = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    answering.load_verify_locations(certificate)
    answering.load_cert_chain(certificate)
    answering.set_alpn_protocols(["http/1.1"])

    async def main():
        async with accepted(asking, answering) as (protocol, peer):
            subject = protocol.transport.get_extra_info("peercert")["subject"]
            assert subject == ((("commonName", "localhost"),),)
            tls = protocol.transport.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "http/1.1"
            # Tickets come with the first data.
            protocol.transport.write(b"x")
            await peer.receive(1)
            assert peer.tls.session.has_ticket
            protocol.transport.abort()
            await protocol.lost

    run(main())


def test_server_name_chooses_the_context(run, server_tls, client_tls, certificate):
    chosen = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    chosen.load_cert_chain(certificate)
    names = []

    def choose(tls, name, context):
        names.append(name)
        tls.context = chosen

    choosing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    choosing.load_cert_chain(certificate)
    choosing.sni_callback = choose

    async def main():
        async with accepted(choosing, client_tls) as (protocol, peer):
            assert names == ["localhost"]
            assert protocol.transport.get_extra_info("ssl_object").context is chosen
            await peer.send(b"x")
            await protocol.until(lambda: protocol.data == b"x")
            protocol.transport.abort()
            await protocol.lost

    run(main())


@pytest.mark.parametrize(
    "cipher",
    ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES256-SHA384"],
)
def test_ciphers_of_tls_1_2_carry_more_than_those_of_1_3(run, server_tls, certificate, cipher):
    """Records of other overheads than the one that the engine begins with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")

    async def main():
        async with accepted(server_tls, context) as (protocol, peer):
            assert peer.tls.cipher()[0] == cipher
            for size in (1, 20, 16384, 40_000, 200_000, 5):
                data = os.urandom(size)
                protocol.transport.write(data)
                assert await peer.receive(size) == data
                protocol.data.clear()
                await peer.send(data)
                await protocol.until(lambda size=size: len(protocol.data) == size)
                assert protocol.data == data
            protocol.transport.abort()
            await protocol.lost

    run(main())


def test_connect_without_a_context_uses_the_system_s(run, loop, server_tls):
    async def main():
        async with serving("127.0.0.1", 0, ssl=server_tls) as server:
            address = server.sockets[0].getsockname()
            with pytest.raises(ssl.SSLCertVerificationError):
                await loop.create_connection(Recorder, *address, ssl=True)

    run(main())


def test_many_connections_at_once_over_a_unix_socket(run, loop, server_tls, client_tls, tmp_path):
    path = str(tmp_path / "socket")

    async def one():
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=client_tls, server_hostname="localhost"
        )
        data = os.urandom(30_000)
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await loop.create_unix_server(Echo, path, ssl=server_tls)
        await asyncio.gather(*(one() for _ in range(30)))
        server.close()
        await server.wait_closed()

    run(main())


def test_streams_over_tls_end_clean(run, server_tls, client_tls):
    async def main():
        async with serving("127.0.0.1", 0, ssl=server_tls) as server:
            address = server.sockets[0].getsockname()
            await check_echo(*address, ssl=client_tls, server_hostname="localhost")

    run(main())
    gc.collect()


def test_debug_mode_logs_the_handshake_and_the_end(run, loop, server_tls, client_tls, caplog):
    loop.set_debug(True)

    async def main():
        async with accepted(server_tls, client_tls) as (protocol, peer):
            peer.writer.write_eof()
            await protocol.lost

    with caplog.at_level("DEBUG", logger="asyncio"):
        run(main())
    assert "starts SSL handshake" in caplog.text
    assert "SSL handshake took" in caplog.text
    assert "received EOF" in caplog.text


def test_peer_that_starts_with_data_is_heard_from_the_first_byte(run, server_tls, client_tls):
    """The end of the client's handshake and its first request in one segment."""

    async def main():
        loop = asyncio.get_running_loop()
        protocols = []

        def factory():
            protocols.append(Recorder())
            return protocols[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=server_tls)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        peer = TlsPeer(reader, writer, client_tls, server_hostname="localhost")
        while True:
            try:
                peer.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(peer.outgoing.read())
                peer.incoming.write(await reader.read(65536))
        peer.tls.write(b"first request")
        await peer.flush()
        await protocols[0].made
        await protocols[0].until(lambda: protocols[0].data)
        assert protocols[0].data == b"first request"
        protocols[0].transport.abort()
        await protocols[0].lost
        peer.close()
        server.close()
        await server.wait_closed()

    run(main())
