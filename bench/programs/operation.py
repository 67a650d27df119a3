"""A program that measures one operation of a loop: the part that all such programs share."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from loops import new_loop

WARM_UP_PART = 10

Operation = Callable[[int], Coroutine[Any, Any, None]]
"""Does it so many times."""


async def measure(operation: Operation, count: int, multiple: int) -> dict[str, float]:
    """CPU and wall time per operation; a tenth of them first, to warm up.

    Counts are multiples of what the operation does at a time.
    """
    count = max(multiple, count // multiple * multiple)
    await operation(max(multiple, count // WARM_UP_PART // multiple * multiple))
    wall_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    await operation(count)
    cpu_ns = time.process_time_ns() - cpu_ns
    wall_ns = time.perf_counter_ns() - wall_ns
    return {"cpu_ns": cpu_ns / count, "ns": wall_ns / count, "cpu_share": cpu_ns / wall_ns}


def main(cells: Mapping[str, tuple[Operation, int]], multiple: int = 1) -> None:
    """Prints what ``--cell`` takes on ``--loop``, as one line of JSON."""
    parser = argparse.ArgumentParser(description="one operation of a loop, many times")
    parser.add_argument("--loop", default="asyncio", help="see loops.py")
    parser.add_argument("--cell", choices=cells, required=True)
    parser.add_argument("--part", type=float, default=1.0, help="of the usual operations")
    options = parser.parse_args()
    operation, count = cells[options.cell]
    with asyncio.Runner(loop_factory=lambda: new_loop(options.loop)) as runner:
        print(json.dumps(runner.run(measure(operation, int(count * options.part), multiple))))
