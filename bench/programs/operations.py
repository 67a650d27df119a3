"""What a program asks its loop for now and then: processes, and addresses of literal hosts.

Prints one line of JSON: nanoseconds of CPU time and of wall time per operation.
"""

from __future__ import annotations

import asyncio

from operation import Operation, main

PROGRAM = "/bin/true"
HOSTS = ("127.0.0.1", "::1")
PORT = 80


async def spawn(count: int) -> None:
    """Starts a program that ends at once, and waits for it."""
    for _ in range(count):
        process = await asyncio.create_subprocess_exec(PROGRAM)
        if await process.wait() != 0:
            raise RuntimeError(f"{PROGRAM} failed")


async def resolve(count: int) -> None:
    """Addresses that are numbers already; half of them of IPv6."""
    loop = asyncio.get_running_loop()
    for number in range(count):
        await loop.getaddrinfo(HOSTS[number % 2], PORT)


CELLS: dict[str, tuple[Operation, int]] = {
    "spawn": (spawn, 100),
    "resolve": (resolve, 10_000),
}


if __name__ == "__main__":
    main(CELLS)
