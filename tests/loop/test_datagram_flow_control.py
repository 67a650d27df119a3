"""Datagram endpoints: flow control, of what is written and of what is read."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoints import IPV4, Recorder, close, endpoint, name_of, turns

# Writing.


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
        address = name_of(one)
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
        one = await endpoint(Pauses, local_addr=IPV4)
        one[1].transport = one[0]
        sent = [b"%d" % number for number in range(40)]
        for data in sent:
            one[0].sendto(data, name_of(one))
        await one[1].wait(lambda: len(one[1].received) == 40)
        assert one[1].data == sent
        await turns(3)
        await close(one)

    run(main())
