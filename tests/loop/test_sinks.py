"""Native protocols that are given bytes where they lie may be replaced while they take them."""

from __future__ import annotations

import asyncio

import pytest


# As asyncio's, a TLS transport that nobody has closed says so.
@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_that_is_put_off_within_its_own_data_received_ends_in_order(
    headrace_loop, headrace_run, server_tls, client_tls
):
    """Back to plain text on the same connection; nobody else holds the TLS transport."""
    received = []

    class Plain(asyncio.Protocol):
        pass

    class PutsOff(asyncio.Protocol):
        def connection_made(self, transport):
            self.wire = transport._transport

        def data_received(self, data):
            received.append(data)
            self.wire.set_protocol(Plain())
            # What stood where the transport was stands there no more.
            self.other = [bytearray(b"\xee" * size) for size in range(100, 700, 4)]

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(PutsOff, "127.0.0.1", 0, ssl=server_tls)
        transport, _ = await loop.create_connection(
            asyncio.Protocol,
            *server.sockets[0].getsockname(),
            ssl=client_tls,
            server_hostname="localhost",
        )
        for _ in range(3):
            transport.write(b"hello")
            while not received:
                await asyncio.sleep(0)
        transport.abort()
        server.close()

    headrace_run(main())
    assert received[0].startswith(b"hello")  # on a busy machine what follows has come as well
