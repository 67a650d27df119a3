"""On the ring, large pieces are received by the loop's thread, small ones by the kernel again."""

from __future__ import annotations

import asyncio
import os
import random
import socket

import pytest

import headrace

LARGE = 300_000
SMALL = 100


@pytest.fixture
def loop():
    if "uring" not in [model.name for model in headrace.models() if model.available]:
        pytest.skip("no io_uring here")
    loop = headrace.new_event_loop("uring")
    yield loop
    assert loop._operations_in_flight() == []
    loop.close()


async def connection():
    near, far = socket.socketpair()
    near.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=near, limit=2**20)
    far.setblocking(False)
    return reader, writer, far


async def end(writer, far):
    far.close()
    writer.close()
    await writer.wait_closed()


def receives(loop):
    return loop.statistics()["system_calls"].get("recv", 0)


async def exchange(loop, reader, far, data):
    sending = loop.create_task(loop.sock_sendall(far, data))
    assert await reader.readexactly(len(data)) == data
    await sending


def test_large_pieces_are_received_directly_and_small_ones_by_the_ring_again(loop):
    async def main():
        reader, writer, far = await connection()
        for _ in range(20):
            await exchange(loop, reader, far, os.urandom(SMALL))
        assert receives(loop) == 0
        for _ in range(5):
            await exchange(loop, reader, far, os.urandom(LARGE))
        assert receives(loop) > 0
        for _ in range(40):
            await exchange(loop, reader, far, os.urandom(SMALL))
        before = receives(loop)
        for _ in range(20):
            await exchange(loop, reader, far, os.urandom(SMALL))
        assert receives(loop) == before
        await end(writer, far)

    loop.run_until_complete(main())


@pytest.mark.parametrize("seed", range(20))
def test_no_byte_is_lost_or_moved_whichever_way_it_comes(loop, seed):
    """Pieces of all sizes, with pauses of reading and of the sender in between."""
    source = random.Random(seed)
    sizes = [source.choice([1, 500, 32768, 32769, 65536, 150_000, 600_000]) for _ in range(40)]
    data = source.randbytes(sum(sizes))

    async def send(far):
        start = 0
        for size in sizes:
            await loop.sock_sendall(far, data[start : start + size])
            start += size
            if source.random() < 0.5:
                await asyncio.sleep(0)
        far.shutdown(socket.SHUT_WR)

    async def main():
        reader, writer, far = await connection()
        sending = loop.create_task(send(far))
        got = bytearray()
        while piece := await reader.read(source.choice([10, 1000, 100_000, 2**20])):
            got += piece
            if source.random() < 0.1:
                writer.transport.pause_reading()
                await asyncio.sleep(0)
                writer.transport.resume_reading()
        await sending
        assert got == data
        await end(writer, far)

    loop.run_until_complete(main())


@pytest.mark.parametrize("how", ["close", "abort", "reset by the peer"])
def test_connection_that_is_received_directly_ends_like_any_other(loop, how):
    async def main():
        reader, writer, far = await connection()
        for _ in range(3):
            await exchange(loop, reader, far, os.urandom(LARGE))
        sending = loop.create_task(loop.sock_sendall(far, os.urandom(LARGE)))
        await reader.readexactly(1000)
        if how == "abort":
            writer.transport.abort()
        elif how == "close":
            writer.close()
        else:
            sending.cancel()
            far.close()
            while await reader.read(2**16):
                pass
            writer.close()
        await writer.wait_closed()
        await asyncio.gather(sending, return_exceptions=True)
        far.close()

    loop.run_until_complete(main())


def test_loop_that_moves_to_another_thread_takes_direct_receives_along(loop):
    async def begin():
        reader, writer, far = await connection()
        for _ in range(3):
            await exchange(loop, reader, far, os.urandom(LARGE))
        return reader, writer, far

    reader, writer, far = loop.run_until_complete(begin())
    result = []

    async def go_on():
        await exchange(loop, reader, far, os.urandom(LARGE))
        await end(writer, far)
        result.append("done")

    import threading

    thread = threading.Thread(target=lambda: loop.run_until_complete(go_on()))
    thread.start()
    thread.join(30)
    assert result == ["done"]


def test_many_pieces_of_middle_size_are_received_directly_and_few_by_the_ring(loop):
    """Those of one turn are more than the cache holds; a single one is not."""
    size = 10_000

    async def main():
        alone = await connection()
        for _ in range(5):
            await exchange(loop, alone[0], alone[2], os.urandom(size))
        assert receives(loop) == 0
        crowd = [alone, *[await connection() for _ in range(59)]]
        for _ in range(4):
            data = os.urandom(size)
            for _, _, far in crowd:
                assert far.send(data) == size
            for reader, _, _ in crowd:
                assert await reader.readexactly(size) == data
        assert receives(loop) > 0
        for _, writer, far in crowd:
            await end(writer, far)

    loop.run_until_complete(main())
