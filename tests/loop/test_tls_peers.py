"""TLS with other people's programs: OpenSSL's client and server, and curl."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl

import pytest
from echoing import serving
from tls_peer import Recorder

pytestmark = [
    pytest.mark.usefixtures("tls_engine"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed"),
]

# <openssl/ssl.h>: without it OpenSSL 3 refuses what a client may ask for.
SSL_OP_ALLOW_CLIENT_RENEGOTIATION = 1 << 8

# Sanitizers that are loaded for us (./check --sanitize) are not for curl, which hangs at its end.
UNSANITIZED = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


@contextlib.asynccontextmanager
async def started(*command):
    """A program that is ended with the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.stdout.read()
        await process.wait()


async def say(process, text):
    process.stdin.write(text)
    await process.stdin.drain()


@pytest.mark.parametrize("key_updates", [b"K\n", b"k\n"], ids=["both sides'", "its own"])
def test_openssls_client_changes_its_keys(run, server_tls, key_updates):
    """RFC 8446 section 4.6.3: `K` asks us for new keys too, which OpenSSL answers by itself."""

    async def main():
        async with serving("127.0.0.1", 0, ssl=server_tls) as server:
            port = server.sockets[0].getsockname()[1]
            client = started("openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{port}")
            async with client as process:
                await process.stdout.readuntil(b"Verify return code")
                for word in (b"one\n", b"two\n", b"three\n"):
                    await say(process, word)
                    await process.stdout.readuntil(word)
                    await say(process, key_updates)
                    await process.stdout.readuntil(b"KEYUPDATE")

    run(main())


def test_openssls_client_negotiates_anew(run, certificate):
    """TLS 1.2: while it does, OpenSSL wants to read before it writes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= SSL_OP_ALLOW_CLIENT_RENEGOTIATION

    async def main():
        async with serving("127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            async with started("openssl", "s_client", "-connect", f"127.0.0.1:{port}") as process:
                await process.stdout.readuntil(b"Verify return code")
                for word in (b"one\n", b"two\n"):
                    await say(process, word)
                    await process.stdout.readuntil(word)
                    await say(process, b"R\n")
                    await process.stdout.readuntil(b"RENEGOTIATING")
                await say(process, b"after\n")
                await process.stdout.readuntil(b"after\n")

    run(main())


class Talking(Recorder):
    """Writes at each piece that it gets, so that there is something to write at any moment."""

    def data_received(self, data):
        super().data_received(data)
        self.transport.write(b"heard %d\n" % len(self.data))


def test_openssls_server_is_talked_to(run, loop, certificate, client_tls):
    async def main():
        server = started(
            "openssl",
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-cert",
            certificate,
            "-key",
            certificate,
        )
        async with server as process:
            line = (await process.stdout.readuntil(b"\n")).strip()
            while not line.startswith(b"ACCEPT"):
                line = (await process.stdout.readuntil(b"\n")).strip()
            port = int(line.rpartition(b":")[2])
            transport, protocol = await loop.create_connection(
                Talking, "127.0.0.1", port, ssl=client_tls, server_hostname="localhost"
            )
            transport.write(b"hello from here\n")
            await process.stdout.readuntil(b"hello from here\n")
            await say(process, b"hello from there\n")
            await process.stdout.readuntil(b"heard 17\n")
            # `Q` ends the connection and the program.
            await say(process, b"Q\n")
            assert await protocol.lost is None
            assert protocol.data == b"hello from there\n"
            assert protocol.told() == ["made", "data", "eof", "lost"]

    run(main())


class Web(asyncio.Protocol):
    """Answers a request by its body, or by 3 MiB."""

    def connection_made(self, transport):
        self.transport = transport
        self.request = b""

    def data_received(self, data):
        self.request += data
        head, end, body = self.request.partition(b"\r\n\r\n")
        if not end:
            return
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if len(body) < length:
            return
        answer = body or bytes(3 * 1024 * 1024)
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
        self.transport.write(answer)
        self.transport.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_downloads_and_uploads(run, loop, server_tls, certificate, tmp_path, version):
    upload = tmp_path / "upload"
    upload.write_bytes(os.urandom(1024 * 1024))

    async def curl(*arguments):
        command = ("curl", "--silent", "--show-error", "--fail", "--max-time", "15")
        process = await asyncio.create_subprocess_exec(
            *command,
            f"--tlsv{version}",
            "--tls-max",
            version,
            "--cacert",
            certificate,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env=UNSANITIZED,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        return output

    async def main():
        server = await loop.create_server(Web, "127.0.0.1", 0, ssl=server_tls)
        port = server.sockets[0].getsockname()[1]
        address = ("--resolve", f"localhost:{port}:127.0.0.1", f"https://localhost:{port}/")
        assert await curl(*address) == bytes(3 * 1024 * 1024)
        answer = await curl("--header", "Expect:", "--data-binary", f"@{upload}", *address)
        assert answer == upload.read_bytes()
        server.close()
        await server.wait_closed()

    run(main())


def test_plain_http_to_a_tls_port_is_turned_away(run, server_tls):
    async def main():
        async with serving("127.0.0.1", 0, ssl=server_tls) as server:
            port = server.sockets[0].getsockname()[1]
            process = await asyncio.create_subprocess_exec(
                "curl",
                "--silent",
                "--max-time",
                "10",
                f"http://127.0.0.1:{port}/",
                stdout=asyncio.subprocess.PIPE,
                env=UNSANITIZED,
            )
            output, _ = await process.communicate()
            assert process.returncode != 0 or b"\x15\x03" in output

    run(main())
