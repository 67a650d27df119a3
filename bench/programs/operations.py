"""What a program asks its loop for now and then: processes, and addresses of literal hosts.

Prints one line of JSON: microseconds of wall and of CPU time per operation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

from loops import new_loop

WARM_UP_PART = 10
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


CELLS: dict[str, tuple[Callable[[int], Coroutine[Any, Any, None]], int]] = {
    "spawn": (spawn, 100),
    "resolve": (resolve, 10_000),
}


async def measure(name: str, part: float) -> dict[str, float]:
    function, usual_count = CELLS[name]
    count = max(1, int(usual_count * part))
    await function(max(1, count // WARM_UP_PART))
    wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    await function(count)
    cpu_ns = time.process_time_ns() - cpu_ns
    wall_ns = time.perf_counter_ns() - wall_ns
    return {"us": wall_ns / 1000 / count, "cpu_us": cpu_ns / 1000 / count}


def main() -> None:
    parser = argparse.ArgumentParser(prog="operations", description="one rare operation")
    parser.add_argument("--loop", default="asyncio", help="see loops.py")
    parser.add_argument("--cell", choices=CELLS, required=True)
    parser.add_argument("--part", type=float, default=1.0, help="of the usual operations")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=lambda: new_loop(options.loop)) as runner:
        print(json.dumps(runner.run(measure(options.cell, options.part))))


if __name__ == "__main__":
    main()
