"""What is written goes out at the end of the turn, together; a large piece at once, by itself."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

import headrace

LARGE = b"x" * 40_000


class Writer(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


async def connect() -> tuple[Any, Any, socket.socket]:
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Writer, sock=near)
    return transport, protocol, far


async def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await asyncio.get_running_loop().sock_recv(sock, size - len(data))
    return data


def sends(loop: Any) -> int:
    count: int = loop.statistics()["system_calls"].get("send", 0)
    return count


def test_large_piece_is_sent_at_once_and_small_ones_together(headrace_loop, headrace_run):
    async def main():
        transport, protocol, far = await connect()
        transport.write(b"small")
        assert transport.get_write_buffer_size() == 5
        transport.write(LARGE)
        assert transport.get_write_buffer_size() == 0
        assert await read_exactly(far, 40_005) == b"small" + LARGE
        transport.close()
        await protocol.lost
        far.close()

    if headrace_loop.model in ("blocking", "aio"):
        pytest.skip("threads send")
    headrace_run(main())


def test_large_pieces_that_wait_are_not_copied_together(headrace_loop, headrace_run):
    """Each has a send of its own, which costs less than the copy."""

    async def main():
        transport, protocol, far = await connect()
        filling = 0
        while not transport.get_write_buffer_size():
            transport.write(LARGE)
            filling += len(LARGE)
        waiting = transport.get_write_buffer_size()
        for _ in range(4):
            transport.write(LARGE)
        before = sends(headrace_loop)
        data = await read_exactly(far, filling + 4 * len(LARGE))
        assert data == b"x" * len(data)
        assert waiting <= len(LARGE)
        if headrace_loop.model not in ("blocking", "aio", "uring"):
            assert sends(headrace_loop) - before >= 4
        transport.close()
        await protocol.lost
        far.close()

    headrace_run(main())


@pytest.mark.parametrize("size", [10, 40_000, 4_000_000])
def test_write_on_a_closed_loop_is_refused_whatever_its_size(model, size):
    loop = headrace.new_event_loop(model)
    transport, _, far = loop.run_until_complete(connect())
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        transport.write(b"x" * size)
    assert transport.get_write_buffer_size() == 0
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        transport.abort()
    far.close()
