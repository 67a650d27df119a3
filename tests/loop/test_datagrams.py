"""Datagram endpoints: addresses, errors, flow control, ends; stock asyncio is the oracle."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

UDP_BYTES_MAX = 65507
SENDS_EMPTY = sys.version_info >= (3, 13)
IPV4 = ("127.0.0.1", 0)


class Recorder(asyncio.DatagramProtocol):
    """Writes down what it is told; `wait` waits until that is enough."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.told: list[str] = []
        self.lost = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("made")

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.received.append((data, addr))
        self._changed.set()

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)
        self._changed.set()

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost.set_result(exc)

    async def wait(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    @property
    def data(self) -> list[bytes]:
        return [data for data, _ in self.received]


async def close(*endpoints: tuple[Any, Recorder]) -> None:
    for transport, _ in endpoints:
        transport.close()
    for _, protocol in endpoints:
        assert await protocol.lost is None
        assert protocol.told[-1] == "lost"


async def endpoint(**arguments: Any) -> tuple[Any, Recorder]:
    return await asyncio.get_running_loop().create_datagram_endpoint(Recorder, **arguments)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(params=["ipv4", "ipv6", "path", "abstract"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "ipv6" and not has_ipv6():
        pytest.skip("no IPv6 here")
    return name


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            return False
    return True


@pytest.fixture
def names(kind: str, tmp_path: Path) -> Iterator[Any]:
    """Local addresses, as create_datagram_endpoint() takes them."""
    number = 0

    def make() -> dict[str, Any]:
        nonlocal number
        number += 1
        if kind == "ipv4":
            return {"local_addr": IPV4}
        if kind == "ipv6":
            return {"local_addr": ("::1", 0)}
        path = str(tmp_path / f"socket{number}")
        address = path if kind == "path" else "\0" + path
        return {"local_addr": address, "family": socket.AF_UNIX}

    return make


# Addresses.


def test_datagrams_come_with_the_address_of_their_sender(run, names):
    async def main():
        one = await endpoint(**names())
        two = await endpoint(**names())
        one[0].sendto(b"there", two[0].get_extra_info("sockname"))
        await two[1].wait(lambda: two[1].received)
        [(data, address)] = two[1].received
        assert data == b"there"
        assert address == one[0].get_extra_info("sockname")
        assert type(address) is type(two[0].get_extra_info("sockname"))
        two[0].sendto(b"and back", address)
        await one[1].wait(lambda: one[1].received)
        assert one[1].received == [(b"and back", two[0].get_extra_info("sockname"))]
        await close(one, two)

    run(main())


def test_connected_endpoint_sends_to_its_peer_alone(run, names):
    async def main():
        server = await endpoint(**names())
        address = server[0].get_extra_info("sockname")
        remote = address[:2] if isinstance(address, tuple) else os.fsdecode(address)
        client = await endpoint(remote_addr=remote, **names())
        assert client[0].get_extra_info("peername") == address
        client[0].sendto(b"one")
        client[0].sendto(b"two", None)
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            client[0].sendto(b"three", ("127.0.0.1", 1))
        await server[1].wait(lambda: len(server[1].received) == 2)
        assert server[1].data == [b"one", b"two"]
        await close(client, server)

    run(main())


def test_sender_without_a_name_has_the_address_that_the_socket_module_gives(run, tmp_path):
    async def main():
        path = str(tmp_path / "socket")
        near = await endpoint(local_addr=path, family=socket.AF_UNIX)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"anonymous", path)
        await near[1].wait(lambda: near[1].received)
        assert near[1].received == [(b"anonymous", None)]
        await close(near)

    run(main())


def test_sendto_looks_up_names_and_says_when_there_are_none(run):
    async def main():
        one = await endpoint(local_addr=IPV4)
        port = one[0].get_extra_info("sockname")[1]
        one[0].sendto(b"by name", ("localhost", port))
        await one[1].wait(lambda: one[1].received)
        assert one[1].data == [b"by name"]
        one[0].sendto(b"nowhere", ("no host of this name", port))
        assert [type(error) for error in one[1].errors] == [socket.gaierror]
        await close(one)

    run(main())


def test_ipv6_address_keeps_its_scope(run):
    if not has_ipv6():
        pytest.skip("no IPv6 here")

    async def main():
        one = await endpoint(local_addr=("::1", 0))
        name = one[0].get_extra_info("sockname")
        assert len(name) == 4
        one[0].sendto(b"four parts", name)
        one[0].sendto(b"two parts", name[:2])
        await one[1].wait(lambda: len(one[1].received) == 2)
        assert one[1].received == [(b"four parts", name), (b"two parts", name)]
        await close(one)

    run(main())


@pytest.mark.parametrize("address", [None, "text", ("127.0.0.1",), ("127.0.0.1", "80"), (1, 2, 3)])
def test_sendto_an_address_that_is_none_ends_the_endpoint_as_in_asyncio(run, complaints, address):
    async def main():
        transport, protocol = await endpoint(local_addr=IPV4)
        transport.sendto(b"data", address)
        assert transport.is_closing()
        assert isinstance(await protocol.lost, TypeError)
        assert [context["message"] for context in complaints] == [
            "Fatal write error on datagram transport"
        ]
        complaints.clear()

    run(main())


def test_family_that_only_the_socket_module_knows_is_served_by_it(run):
    async def main():
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0)
        sock.bind((0, 0))
        transport, protocol = await endpoint(sock=sock)
        # rtnetlink(7): all links, please.
        request = struct.pack("=IHHII", 17, 18, 0x301, 1, 0) + b"\0"
        transport.sendto(request, (0, 0))
        await protocol.wait(lambda: protocol.received)
        assert protocol.received[0][1] == (0, 0)
        await close((transport, protocol))

    run(main())


def test_broadcast_reaches_an_endpoint(run):
    async def main():
        listening = await endpoint(local_addr=("0.0.0.0", 0))
        port = listening[0].get_extra_info("sockname")[1]
        forbidden = await endpoint(local_addr=("0.0.0.0", 0))
        forbidden[0].sendto(b"no", ("127.255.255.255", port))
        assert [error.errno for error in forbidden[1].errors] == [errno.EACCES]
        sending = await endpoint(remote_addr=("127.255.255.255", port), allow_broadcast=True)
        assert sending[0].get_extra_info("peername") is None
        sending[0].sendto(b"to all")
        await listening[1].wait(lambda: listening[1].received)
        assert listening[1].data == [b"to all"]
        await close(listening, forbidden, sending)

    run(main())


def test_two_endpoints_share_a_port_that_may_be_reused(run):
    async def main():
        one = await endpoint(local_addr=IPV4, reuse_port=True)
        two = await endpoint(local_addr=one[0].get_extra_info("sockname"), reuse_port=True)
        with pytest.raises(OSError, match="Address already in use"):
            await endpoint(local_addr=one[0].get_extra_info("sockname"))
        await close(one, two)

    run(main())


# Sizes.


@pytest.mark.parametrize("size", [1, 1472, 32 * 1024, 65000, UDP_BYTES_MAX])
def test_datagram_arrives_whole(run, size):
    async def main():
        one, two = await endpoint(local_addr=IPV4), await endpoint(local_addr=IPV4)
        data = os.urandom(size)
        one[0].sendto(bytearray(data), two[0].get_extra_info("sockname"))
        await two[1].wait(lambda: two[1].received)
        assert two[1].data == [data]
        await close(one, two)

    run(main())


def test_unix_datagram_larger_than_any_of_udp_arrives_whole(run, tmp_path):
    async def main():
        path = str(tmp_path / "socket")
        near = await endpoint(local_addr=path, family=socket.AF_UNIX)
        far = await endpoint(remote_addr=path, family=socket.AF_UNIX)
        data = os.urandom(150_000)
        far[0].sendto(memoryview(data))
        await near[1].wait(lambda: near[1].received)
        assert near[1].data == [data]
        await close(near, far)

    run(main())


def test_empty_datagrams_are_received_and_sent_as_this_version_does(run):
    async def main():
        one, two = await endpoint(local_addr=IPV4), await endpoint(local_addr=IPV4)
        address = two[0].get_extra_info("sockname")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(3):
                sock.sendto(b"", address)
        await two[1].wait(lambda: len(two[1].received) == 3)
        one[0].sendto(b"", address)
        one[0].sendto(b"end", address)
        await two[1].wait(lambda: b"end" in two[1].data)
        assert two[1].data == [b""] * (4 if SENDS_EMPTY else 3) + [b"end"]
        await close(one, two)

    run(main())


def test_datagrams_stay_in_order_however_many_come_at_once(run):
    async def main():
        near = await endpoint(local_addr=IPV4)
        address = near[0].get_extra_info("sockname")
        sent = [b"%d" % number for number in range(200)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for data in sent:
                sock.sendto(data, address)
        await near[1].wait(lambda: len(near[1].received) == len(sent))
        assert near[1].data == sent
        await close(near)

    run(main())


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
        address = one[0].get_extra_info("sockname")
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
        loop = asyncio.get_running_loop()
        one = await loop.create_datagram_endpoint(Raises, local_addr=IPV4)
        with pytest.raises(LookupError, match="mine"):
            one[0].sendto(bytes(UDP_BYTES_MAX + 1), one[0].get_extra_info("sockname"))
        await close(one)

    run(main())


def test_error_in_datagram_received_is_reported_and_the_next_one_is_delivered(run, complaints):
    class Raises(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            if data == b"bad":
                raise LookupError("mine")

    async def main():
        loop = asyncio.get_running_loop()
        one = await loop.create_datagram_endpoint(Raises, local_addr=IPV4)
        address = one[0].get_extra_info("sockname")
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
        return await loop.create_datagram_endpoint(Ends, local_addr=IPV4)

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


# Flow control.


@pytest.fixture
def unix_pair(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket, and the one that it is connected to: asyncio wants that one to have a name."""
    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.bind(str(tmp_path / "far"))
    far.setblocking(False)
    near = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    near.connect(str(tmp_path / "far"))
    yield near, far
    near.close()
    far.close()


def receive_nowait(sock: socket.socket) -> list[bytes]:
    received = []
    with contextlib.suppress(BlockingIOError):
        while True:
            received.append(sock.recv(65536))
    return received


async def receive_all(sock: socket.socket, count: int) -> list[bytes]:
    received = []
    while len(received) < count:
        try:
            received.append(sock.recv(65536))
        except BlockingIOError:
            await asyncio.sleep(0)
    return received


def test_datagrams_that_the_kernel_does_not_take_wait_and_pause_the_protocol(
    run, loop_name, unix_pair
):
    async def main():
        is_stock = loop_name == "asyncio"
        near, far = unix_pair
        one = await endpoint(sock=near)
        sent = [b"%04d" % number + bytes(1000) for number in range(500)]
        for data in sent:
            one[0].sendto(data)
        waiting = one[0].get_write_buffer_size()
        assert waiting > one[0].get_write_buffer_limits()[1] == 65536
        assert one[1].told == ["made", "pause"]
        assert await receive_all(far, len(sent)) == sent
        await turns()
        if not is_stock or sys.version_info[:3] != (3, 13, 0):
            # That one does not take back the heads that it counts.
            assert one[0].get_write_buffer_size() == 0
        assert one[1].told == ["made", "pause", "resume"]
        await close(one)

    run(main())


def test_limits_are_set_and_checked(run, unix_pair):
    async def main():
        near, _ = unix_pair
        one = await endpoint(sock=near)
        one[0].set_write_buffer_limits(high=100)
        assert one[0].get_write_buffer_limits() == (25, 100)
        with pytest.raises(ValueError, match=r"high .* must be >= low"):
            one[0].set_write_buffer_limits(high=1, low=2)
        while not one[0].get_write_buffer_size():
            one[0].sendto(b"x" * 90)
        assert one[1].told == ["made"]
        one[0].sendto(b"x" * 90)
        assert one[1].told == ["made", "pause"]
        one[0].abort()
        assert await one[1].lost is None

    run(main())


def test_close_sends_what_waits_first(run, unix_pair):
    async def main():
        near, far = unix_pair
        one = await endpoint(sock=near)
        sent = [b"%04d" % number for number in range(1000)]
        for data in sent:
            one[0].sendto(data)
        assert one[0].get_write_buffer_size()
        one[0].close()
        one[0].sendto(b"behind")
        assert one[0].is_closing()
        assert await receive_all(far, len(sent) + 1) == [*sent, b"behind"]
        assert await one[1].lost is None

    run(main())


def test_sender_that_is_not_connected_goes_on_when_the_receiver_has_room_again(run, unix_pair):
    async def main():
        _, far = unix_pair
        one = await endpoint(sock=socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        sent = [b"%04d" % number for number in range(300)]
        for data in sent:
            one[0].sendto(data, far.getsockname())
        assert one[0].get_write_buffer_size()
        await turns(3)
        assert await receive_all(far, len(sent)) == sent
        await close(one)

    run(main())


def test_abort_drops_what_waits(run, unix_pair):
    async def main():
        near, far = unix_pair
        one = await endpoint(sock=near)
        while not one[0].get_write_buffer_size():
            one[0].sendto(b"data")
        one[0].sendto(b"never")
        one[0].abort()
        one[0].abort()
        assert await one[1].lost is None
        assert set(receive_nowait(far)) == {b"data"}

    run(main())


def test_peer_that_goes_while_datagrams_wait_is_an_error_for_each_of_them(
    run, unix_pair, loop_name
):
    if loop_name == "asyncio" and sys.version_info[:3] == (3, 13, 0):
        pytest.skip("3.13.0 does not take back the heads that it counts")

    async def main():
        near, far = unix_pair
        one = await endpoint(sock=near)
        for _ in range(500):
            one[0].sendto(bytes(1000))
        assert one[0].get_write_buffer_size()
        far.close()
        await one[1].wait(lambda: not one[0].get_write_buffer_size())
        assert {error.errno for error in one[1].errors} <= {errno.ECONNREFUSED, errno.ENOTCONN}
        assert not one[0].is_closing()
        await close(one)

    run(main())


# Reading.


def test_paused_endpoint_delivers_nothing_until_it_is_resumed(run):
    async def main():
        one = await endpoint(local_addr=IPV4)
        address = one[0].get_extra_info("sockname")
        assert one[0].is_reading()
        one[0].pause_reading()
        assert not one[0].is_reading()
        for number in range(50):
            one[0].sendto(b"%d" % number, address)
        await turns()
        assert one[1].received == []
        one[0].resume_reading()
        await one[1].wait(lambda: len(one[1].received) == 50)
        assert one[1].data == [b"%d" % number for number in range(50)]
        await close(one)

    run(main())


def test_pause_in_datagram_received_holds_the_rest(run):
    class Pauses(Recorder):
        transport: Any = None

        def datagram_received(self, data, addr):
            assert self.transport.is_reading()
            super().datagram_received(data, addr)
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)

    async def main():
        loop = asyncio.get_running_loop()
        one = await loop.create_datagram_endpoint(Pauses, local_addr=IPV4)
        one[1].transport = one[0]
        sent = [b"%d" % number for number in range(40)]
        for data in sent:
            one[0].sendto(data, one[0].get_extra_info("sockname"))
        await one[1].wait(lambda: len(one[1].received) == 40)
        assert one[1].data == sent
        await turns(3)
        await close(one)

    run(main())


# Ends.


def test_endpoint_closed_in_datagram_received_hears_no_more(run):
    class Closes(Recorder):
        transport: Any = None

        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.close()

    async def main():
        loop = asyncio.get_running_loop()
        one = await loop.create_datagram_endpoint(Closes, local_addr=IPV4)
        one[1].transport = one[0]
        for _ in range(10):
            one[0].sendto(b"data", one[0].get_extra_info("sockname"))
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
        loop = asyncio.get_running_loop()
        one = await loop.create_datagram_endpoint(Ends, local_addr=IPV4)
        assert await one[1].lost is None
        assert one[1].told == ["made", "lost"]
        one[0].close()
        one[0].abort()
        assert one[0].is_closing()

    run(main())


def test_sendto_after_the_end_is_ignored_and_logged_when_repeated(run, caplog):
    async def main():
        server = await endpoint(local_addr=IPV4)
        one = await endpoint(remote_addr=server[0].get_extra_info("sockname"))
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
        loop = asyncio.get_running_loop()
        variable.set("maker")
        one = await loop.create_datagram_endpoint(Sees, local_addr=IPV4)
        variable.set("later")
        one[0].sendto(b"data", one[0].get_extra_info("sockname"))
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
