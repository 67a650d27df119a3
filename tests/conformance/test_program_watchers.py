"""asyncio programs that watch descriptors: add_reader() and add_writer()."""

import asyncio
import os
import socket

import pytest
from program import turns


def test_reader_is_called_while_data_is_left(loop, run, sockets):
    left, right = sockets.unix_pair()
    calls = []

    async def main():
        loop.add_reader(left, calls.append, 1)
        right.send(b"not drained")
        while len(calls) < 5:
            await asyncio.sleep(0)
        left.recv(100)
        await turns()
        count = len(calls)
        await turns()
        assert len(calls) == count
        right.send(b"again")
        while len(calls) == count:
            await asyncio.sleep(0)
        assert loop.remove_reader(left)
        assert not loop.remove_reader(left)

    run(main())


def test_reader_that_takes_a_byte_at_a_time_gets_all(loop, run, sockets):
    left, right = sockets.tcp_pair()
    taken = []

    async def main():
        loop.add_reader(left, lambda: taken.append(left.recv(1)))
        right.send(b"one by one")
        right.close()
        while not taken or taken[-1]:
            await asyncio.sleep(0)
        loop.remove_reader(left)

    run(main())
    assert b"".join(taken) == b"one by one"


def test_reader_is_replaced(loop, run, sockets):
    left, right = sockets.unix_pair()

    async def main():
        done = loop.create_future()
        loop.add_reader(left, pytest.fail, "the one that was replaced")
        loop.add_reader(left, lambda: done.done() or done.set_result(None))
        right.send(b"x")
        await done
        loop.remove_reader(left)

    run(main())


def test_reader_and_writer_of_one_descriptor(loop, run, sockets):
    left, right = sockets.unix_pair()
    seen = []

    def readable():
        seen.append(left.recv(10))
        loop.remove_reader(left)

    def writable():
        seen.append("writable")
        loop.remove_writer(left)

    async def main():
        loop.add_reader(left, readable)
        loop.add_writer(left, writable)
        while not seen:
            await asyncio.sleep(0)
        assert seen == ["writable"]
        right.send(b"x")
        while len(seen) < 2:
            await asyncio.sleep(0)
        assert seen == ["writable", b"x"]

    run(main())


def test_writer_is_called_when_there_is_room_again(loop, run, sockets):
    left, right = sockets.unix_pair()
    calls = []

    async def main():
        count = 0
        while True:
            try:
                count += left.send(b"x" * 10_000)
            except BlockingIOError:
                break
        loop.add_writer(left, calls.append, 1)
        await turns()
        assert calls == []
        while count:
            count -= len(right.recv(1 << 20))
        while not calls:
            await asyncio.sleep(0)
        loop.remove_writer(left)

    run(main())


def test_reader_removed_in_its_own_callback_is_not_called_again(loop, run, sockets):
    left, right = sockets.unix_pair()
    calls = []

    def once():
        calls.append(1)
        loop.remove_reader(left)

    async def main():
        loop.add_reader(left, once)
        right.send(b"x")
        while not calls:
            await asyncio.sleep(0)
        await turns()
        assert calls == [1]
        loop.add_reader(left, once)
        while len(calls) < 2:
            await asyncio.sleep(0)

    run(main())


def test_reader_removed_by_a_neighbour_is_not_called(loop, run, sockets):
    pairs = [sockets.unix_pair() for _ in range(2)]
    calls = []

    def first_come(number):
        calls.append(number)
        for left, _ in pairs:
            loop.remove_reader(left)

    async def main():
        for number, (left, _) in enumerate(pairs):
            loop.add_reader(left, first_come, number)
        for _, right in pairs:
            right.send(b"x")
        while not calls:
            await asyncio.sleep(0)
        await turns()

    run(main())
    assert len(calls) == 1


def test_reader_of_a_pipe(loop, run):
    reading, writing = os.pipe()

    async def main():
        done = loop.create_future()
        loop.add_reader(reading, lambda: done.done() or done.set_result(os.read(reading, 10)))
        os.write(writing, b"pipe")
        assert await done == b"pipe"
        loop.remove_reader(reading)

    run(main())
    os.close(reading)
    os.close(writing)


def test_number_of_a_closed_socket_is_watched_anew(loop, run, sockets):
    async def main():
        for _ in range(5):
            left, right = socket.socketpair()
            done = loop.create_future()
            loop.add_reader(left, lambda done=done: done.done() or done.set_result(None))
            right.send(b"x")
            await done
            loop.remove_reader(left)
            left.close()
            right.close()

    run(main())
