"""Datagram endpoints: addresses and sizes; stock asyncio is the oracle."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoints import IPV4, UDP_BYTES_MAX, close, endpoint, name_of

SENDS_EMPTY = sys.version_info >= (3, 13)


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
        one[0].sendto(b"there", name_of(two))
        await two[1].wait(lambda: two[1].received)
        [(data, address)] = two[1].received
        assert data == b"there"
        assert address == name_of(one)
        assert type(address) is type(name_of(two))
        two[0].sendto(b"and back", address)
        await one[1].wait(lambda: one[1].received)
        assert one[1].received == [(b"and back", name_of(two))]
        await close(one, two)

    run(main())


def test_connected_endpoint_sends_to_its_peer_alone(run, names):
    async def main():
        server = await endpoint(**names())
        address = name_of(server)
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
        port = name_of(one)[1]
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
        name = name_of(one)
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
        port = name_of(listening)[1]
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
        two = await endpoint(local_addr=name_of(one), reuse_port=True)
        with pytest.raises(OSError, match="Address already in use"):
            await endpoint(local_addr=name_of(one))
        await close(one, two)

    run(main())


# Sizes.


@pytest.mark.parametrize("size", [1, 1472, 32 * 1024, 65000, UDP_BYTES_MAX])
def test_datagram_arrives_whole(run, size):
    async def main():
        one, two = await endpoint(local_addr=IPV4), await endpoint(local_addr=IPV4)
        data = os.urandom(size)
        one[0].sendto(bytearray(data), name_of(two))
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
        address = name_of(two)
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
        address = name_of(near)
        sent = [b"%d" % number for number in range(200)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for data in sent:
                sock.sendto(data, address)
        await near[1].wait(lambda: len(near[1].received) == len(sent))
        assert near[1].data == sent
        await close(near)

    run(main())
