"""asyncio programs over streams and servers, plain and over TLS, and files sent over them."""

import asyncio
import ssl
from pathlib import Path

import pytest
from program import LARGE, close, ends, turns

CERTIFICATE = Path(__file__).parent / "localhost.pem"


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
