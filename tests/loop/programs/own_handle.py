"""Callbacks that are C callables and let go of their own handle, which alone kept them alive.

    own_handle.py MODEL

Generators stand for what uvloop's and aiohttp's users pass in earnest: bound C methods.
"""

import asyncio
import os
import sys

import headrace

ROUNDS = 100


def cancels_its_handle(box):
    large = [bytes(1000) for _ in range(50)]
    yield
    box.pop().cancel()
    overwriting = [object() for _ in range(1000)]
    yield len(large) + len(overwriting)


def removes_its_reader(loop, fd):
    large = [bytes(1000) for _ in range(50)]
    yield
    loop.remove_reader(fd)
    overwriting = [bytearray(64) for _ in range(100)]
    yield len(large) + len(overwriting)


def removes_its_reader_and_raises(loop, fd, errors):
    def callback():
        loop.remove_reader(fd)
        errors.append([object() for _ in range(1000)])
        raise ValueError(fd)

    return callback


def replaces_its_reader_and_raises(loop, fd, errors):
    def callback():
        loop.add_reader(fd, loop.remove_reader, fd)
        errors.append([object() for _ in range(1000)])
        raise ValueError(fd)

    return callback


async def watch_with(make):
    """Each of these callbacks raises, and the loop's exception handler is told so."""
    loop = asyncio.get_running_loop()
    told = []
    loop.set_exception_handler(lambda _, report: told.append(report["exception"]))
    for _ in range(ROUNDS):
        reading, writing = os.pipe()
        os.write(writing, b"x")
        loop.add_reader(reading, make(loop, reading, []))
        while not told:
            await asyncio.sleep(0)
        await turns()
        assert [type(error) for error in told] == [ValueError]
        told.clear()
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
    loop.set_exception_handler(None)


async def turns():
    for _ in range(4):
        await asyncio.sleep(0)


async def main():
    loop = asyncio.get_running_loop()
    for number in range(ROUNDS):
        box = []
        generator = cancels_its_handle(box)
        next(generator)
        if number % 2:
            box.append(loop.call_soon(generator.send, None))
        else:
            box.append(loop.call_later(0, generator.send, None))
        del generator
        while box:
            await asyncio.sleep(0)
    for _ in range(ROUNDS):
        reading, writing = os.pipe()
        os.write(writing, b"x")
        generator = removes_its_reader(loop, reading)
        next(generator)
        loop.add_reader(reading, generator.__next__)
        del generator
        await turns()
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
    await watch_with(removes_its_reader_and_raises)
    await watch_with(replaces_its_reader_and_raises)
    print("alive")


headrace.run(main(), model=sys.argv[1])
