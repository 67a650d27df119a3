"""Cached 4 KiB reads and writes at random places of a file, 32 at a time.

Prints one line of JSON: microseconds of wall and of CPU time per operation.  A way is how a program
gets at files without blocking its loop; each of 32 tasks has a file object of its own where that
has a position.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from loops import new_loop, settle_allocator

BLOCK = 4096
BLOCKS = 8192
AT_ONCE = 32
WARM_UP_PART = 10

Operation = Callable[[int], Awaitable[Any]]
"""Reads or writes the block at that offset."""


@asynccontextmanager
async def opened(module: str, path: str, mode: str) -> AsyncIterator[Any]:
    file = await importlib.import_module(module).open(path, mode)
    try:
        yield file
    finally:
        await file.close()


@asynccontextmanager
async def by_position(module: str, path: str, writes: bool) -> AsyncIterator[list[Operation]]:
    """headrace.open and blazio.open: one file, pread and pwrite."""
    payload = bytes(BLOCK)
    async with opened(module, path, "r+b") as file:

        async def read(offset: int) -> bytes:
            data: bytes = await file.pread(BLOCK, offset)
            return data

        async def write(offset: int) -> None:
            await file.pwrite(payload, offset)

        yield [write if writes else read] * AT_ONCE


@asynccontextmanager
async def by_seeking(module: str, path: str, writes: bool) -> AsyncIterator[list[Operation]]:
    """aiofiles: a thread of the executor for each call."""
    payload = bytes(BLOCK)

    def operation(file: Any) -> Operation:
        async def move(offset: int) -> Any:
            await file.seek(offset)
            return await (file.write(payload) if writes else file.read(BLOCK))

        return move

    aiofiles = importlib.import_module(module)
    async with AsyncExitStack() as stack:
        yield [
            operation(await stack.enter_async_context(aiofiles.open(path, "r+b", buffering=0)))
            for _ in range(AT_ONCE)
        ]


@asynccontextmanager
async def by_context(module: str, path: str, writes: bool) -> AsyncIterator[list[Operation]]:
    """caio: the kernel's own asynchronous I/O."""
    payload = bytes(BLOCK)
    fd = os.open(path, os.O_RDWR)
    try:
        async with importlib.import_module(module).AsyncioContext() as context:
            if writes:
                yield [lambda offset: context.write(payload, fd, offset)] * AT_ONCE
            else:
                yield [lambda offset: context.read(BLOCK, fd, offset)] * AT_ONCE
    finally:
        os.close(fd)


@asynccontextmanager
async def by_executor(module: str, path: str, writes: bool) -> AsyncIterator[list[Operation]]:
    """What everybody can write without a package."""
    loop = asyncio.get_running_loop()
    payload = bytes(BLOCK)
    fd = os.open(path, os.O_RDWR)
    try:
        if writes:
            yield [
                lambda offset: loop.run_in_executor(None, os.pwrite, fd, payload, offset)
            ] * AT_ONCE
        else:
            yield [lambda offset: loop.run_in_executor(None, os.pread, fd, BLOCK, offset)] * AT_ONCE
    finally:
        os.close(fd)


WAYS = {
    "headrace": by_position,
    "blazio": by_position,
    "aiofiles": by_seeking,
    "caio": by_context,
    "executor": by_executor,
}


async def work(operation: Operation, count: int, is_read: bool) -> None:
    places = random.Random(count)
    for _ in range(count):
        found = await operation(places.randrange(BLOCKS) * BLOCK)
        if is_read and len(found) != BLOCK:
            raise RuntimeError(f"{len(found)} bytes were read instead of {BLOCK}")


async def measure(options: argparse.Namespace, path: str) -> dict[str, float]:
    each = options.count // AT_ONCE
    async with WAYS[options.way](options.way, path, options.writes) as operations:

        async def all_at_once(count: int) -> None:
            await asyncio.gather(*(work(one, count, not options.writes) for one in operations))

        await all_at_once(max(1, each // WARM_UP_PART))
        wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        await all_at_once(each)
        cpu_ns = time.process_time_ns() - cpu_ns
        wall_ns = time.perf_counter_ns() - wall_ns
    done = each * AT_ONCE
    return {"us": wall_ns / 1000 / done, "cpu_us": cpu_ns / 1000 / done}


def main() -> None:
    parser = argparse.ArgumentParser(prog="files", description="one way of file I/O")
    parser.add_argument("--loop", default="asyncio", help="see loops.py")
    parser.add_argument("--way", choices=WAYS, required=True)
    parser.add_argument("--writes", action="store_true")
    parser.add_argument("--count", type=int, default=20_000)
    options = parser.parse_args()
    settle_allocator()
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(BLOCK * BLOCKS))
        file.flush()
        with asyncio.Runner(loop_factory=lambda: new_loop(options.loop)) as runner:
            print(json.dumps(runner.run(measure(options, file.name))))


if __name__ == "__main__":
    main()
