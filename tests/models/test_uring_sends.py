"""On the ring, the sends of a turn are submitted together; one or two have a call of their own."""

from __future__ import annotations

import asyncio
import socket

import pytest

import headrace
from headrace.models import registry

pytestmark = pytest.mark.skipif(
    registry.unavailable_reason("uring") is not None, reason="no io_uring here"
)
FEW = 2
TURNS = 5


class Transports:
    """So many connections, whose far ends are no affair of the loop's."""

    def __init__(self, loop: headrace.EventLoop, count: int) -> None:
        self.loop = loop
        self.count = count
        self.pairs: list[tuple[asyncio.Transport, socket.socket]] = []

    async def __aenter__(self) -> Transports:
        for _ in range(self.count):
            near, far = socket.socketpair()
            transport, _ = await self.loop.create_unix_connection(asyncio.Protocol, sock=near)
            self.pairs.append((transport, far))
        return self

    async def __aexit__(self, *_: object) -> None:
        for transport, far in self.pairs:
            transport.close()
            far.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def write(self, message: bytes) -> list[bytes]:
        """Writes it to all in one turn, and answers what has arrived two turns later."""
        for transport, _ in self.pairs:
            transport.write(message)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [far.recv(100, socket.MSG_DONTWAIT) for _, far in self.pairs]

    def sends(self) -> int:
        return self.loop.statistics()["system_calls"].get("send", 0)


@pytest.mark.parametrize(
    ("connections", "sends"), [(1, TURNS), (FEW, FEW * TURNS), (FEW + 1, 0), (20, 0)]
)
def test_uring_sends_a_few_directly_and_submits_many(connections, sends):
    loop = headrace.new_event_loop("uring")

    async def main():
        async with Transports(loop, connections) as transports:
            for turn in range(TURNS):
                message = b"%d" % turn
                assert await transports.write(message) == [message] * connections
            assert transports.sends() == sends

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def test_uring_goes_on_with_a_direct_send_that_the_kernel_has_taken_in_part():
    message = bytes(range(256)) * 160  # small enough for the ring, too large for the socket

    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with far:
            far.setblocking(False)
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=near)
            for _ in range(3):
                transport.write(message)
                await asyncio.sleep(0)
                transport.write(b"-" + message)
                received = b""
                while len(received) <= 2 * len(message):
                    received += await loop.sock_recv(far, 2**20)
                assert received == message + b"-" + message
            transport.close()

    with asyncio.Runner(loop_factory=lambda: headrace.new_event_loop("uring")) as runner:
        runner.run(main())
