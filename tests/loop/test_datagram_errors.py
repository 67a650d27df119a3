"""Datagram endpoints: errors, ends, and what a transport says of itself."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import logging
import socket
import sys
from typing import Any

import pytest
from endpoints import IPV4, UDP_BYTES_MAX, Recorder, close, endpoint, name_of

# Errors.


@pytest.mark.parametrize("data", ["text", 7, None, [b"list"]])
def test_sendto_refuses_what_is_no_bytes(run, data):
    async def main():
        one = await endpoint(local_addr=IPV4)
        with pytest.raises(TypeError, match="data argument must be a bytes-like object, not"):
            one[0].sendto(data, ("127.0.0.1", 9))
        await close(one)

    run(main())


def test_refused_datagrams_are_told_and_the_endpoint_goes_on(run):
    async def main():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind(IPV4)
            address = nobody.getsockname()
        client = await endpoint(remote_addr=address)
        for count in range(1, 4):
            client[0].sendto(b"anybody?")
            await client[1].wait(lambda count=count: len(client[1].errors) == count)
        assert {type(error) for error in client[1].errors} == {ConnectionRefusedError}
        server = await endpoint(local_addr=address)
        client[0].sendto(b"now")
        await server[1].wait(lambda: server[1].received)
        server[0].sendto(b"yes", server[1].received[0][1])
        await client[1].wait(lambda: client[1].received)
        assert client[1].received == [(b"yes", address)]
        await close(client, server)

    run(main())


def test_datagram_that_is_too_large_is_told_at_once_and_the_next_one_is_sent(run):
    async def main():
        one = await endpoint(local_addr=IPV4)
        address = name_of(one)
        one[0].sendto(bytes(UDP_BYTES_MAX + 1), address)
        assert [error.errno for error in one[1].errors] == [errno.EMSGSIZE]
        one[0].sendto(b"small", address)
        await one[1].wait(lambda: one[1].received)
        assert not one[0].is_closing()
        await close(one)

    run(main())


def test_error_in_error_received_is_raised_by_sendto(run):
    class Raises(Recorder):
        def error_received(self, exc):
            raise LookupError("mine")

    async def main():
        one = await endpoint(Raises, local_addr=IPV4)
        with pytest.raises(LookupError, match="mine"):
            one[0].sendto(bytes(UDP_BYTES_MAX + 1), name_of(one))
        await close(one)

    run(main())


def test_error_in_datagram_received_is_reported_and_the_next_one_is_delivered(run, complaints):
    class Raises(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            if data == b"bad":
                raise LookupError("mine")

    async def main():
        one = await endpoint(Raises, local_addr=IPV4)
        address = name_of(one)
        for data in (b"good", b"bad", b"next"):
            one[0].sendto(data, address)
        await one[1].wait(lambda: len(one[1].received) == 3)
        assert one[1].data == [b"good", b"bad", b"next"]
        assert [str(context["exception"]) for context in complaints] == ["mine"]
        complaints.clear()
        await close(one)

    run(main())


def test_program_end_in_datagram_received_keeps_the_datagrams_behind_it(loop, run):
    class Ends(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            if data == b"end":
                raise SystemExit(3)

    async def main():
        return await endpoint(Ends, local_addr=IPV4)

    transport, protocol = run(main())
    address = transport.get_extra_info("sockname")
    for data in (b"before", b"end", b"behind", b"last"):
        transport.sendto(data, address)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert protocol.data == [b"before", b"end"]
    run(protocol.wait(lambda: len(protocol.received) == 4))
    assert protocol.data == [b"before", b"end", b"behind", b"last"]
    run(close((transport, protocol)))


# Ends.


def test_endpoint_closed_in_datagram_received_hears_no_more(run):
    class Closes(Recorder):
        transport: Any = None

        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.close()

    async def main():
        one = await endpoint(Closes, local_addr=IPV4)
        one[1].transport = one[0]
        for _ in range(10):
            one[0].sendto(b"data", name_of(one))
        assert await one[1].lost is None
        assert one[1].data == [b"data"]

    run(main())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_endpoint_ended_in_connection_made_ends(run, how):
    class Ends(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            getattr(transport, how)()

    async def main():
        one = await endpoint(Ends, local_addr=IPV4)
        assert await one[1].lost is None
        assert one[1].told == ["made", "lost"]
        one[0].close()
        one[0].abort()
        assert one[0].is_closing()

    run(main())


def test_sendto_after_the_end_is_ignored_and_logged_when_repeated(run, caplog):
    async def main():
        server = await endpoint(local_addr=IPV4)
        one = await endpoint(remote_addr=name_of(server))
        await close(one)
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(10):
                one[0].sendto(b"late")
        assert "socket.send() raised exception." in caplog.messages
        await close(server)

    run(main())


def test_transport_says_what_it_is(run):
    async def main():
        one = await endpoint(local_addr=IPV4)
        transport = one[0]
        assert isinstance(transport, asyncio.BaseTransport)
        assert isinstance(transport, asyncio.DatagramTransport) or sys.version_info < (3, 12)
        assert transport.get_protocol() is one[1]
        assert transport.get_extra_info("peername") is None
        assert transport.get_extra_info("socket").family == socket.AF_INET
        assert transport.get_extra_info("no such thing", 7) == 7
        assert f"fd={transport.get_extra_info('socket').fileno()}" in repr(transport)
        replaced = Recorder()
        transport.set_protocol(replaced)
        transport.sendto(b"data", transport.get_extra_info("sockname"))
        await replaced.wait(lambda: replaced.received)
        transport.close()
        assert await replaced.lost is None

    run(main())


def test_callbacks_run_in_the_context_of_the_endpoints_maker(run):
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    class Sees(Recorder):
        def connection_made(self, transport):
            seen.append(variable.get())

        def datagram_received(self, data, addr):
            seen.append(variable.get())
            super().datagram_received(data, addr)

    async def main():
        variable.set("maker")
        one = await endpoint(Sees, local_addr=IPV4)
        variable.set("later")
        one[0].sendto(b"data", name_of(one))
        await one[1].wait(lambda: one[1].received)
        await close(one)
        assert seen == ["maker", "maker"]

    run(main())


def test_descriptor_of_an_endpoint_is_no_callers(run):
    async def main():
        loop = asyncio.get_running_loop()
        one = await endpoint(local_addr=IPV4)
        fd = one[0].get_extra_info("socket").fileno()
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(fd, print)
        await close(one)

    run(main())


def test_socket_with_an_endpoint_gets_no_second_one(headrace_run):
    async def main():
        one = await endpoint(local_addr=IPV4)
        with pytest.raises(RuntimeError, match="is used by transport"):
            await endpoint(sock=one[0]._sock)
        await close(one)

    headrace_run(main())
