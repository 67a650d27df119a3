"""Cached 4 KiB reads of a large file at random places, 32 at a time: ours beside others'.

    python bench/files.py [--rounds N] [--reads N] [--only WORD]

Contenders that are not installed (aiofiles, caio, uvloop) are left out and named.  Each round runs
each contender once, in a new process, in turn; the table has the medians of the rounds, their
spread, and how many times as fast as aiofiles on stock asyncio each is, of the same round.

"pread" reads 32 times side by side with one open file, "seek + read" with 32 files, as a file
without pread() must be read.  The bars: pread on our loop at least 20 times aiofiles on asyncio,
and 1.2 times caio on uvloop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

BLOCK_BYTES = 4096
FILE_BYTES = 64 << 20
SIDE_BY_SIDE = 32
ROUNDS = 7
READS = 40_000
CHILD_S_MAX = 120
# A slow contender makes fewer reads, so that a round ends.
SLOWER = {"aiofiles": 10, "executor": 4}
BARS = (
    ("headrace pread, uring", "aiofiles, asyncio", 20),
    ("headrace pread, uring", "caio, uvloop", 1.2),
)

ReadAt = Callable[[int], Awaitable[bytes]]


def places(count: int, seed: int) -> list[int]:
    source = random.Random(seed)
    return [source.randrange(FILE_BYTES // BLOCK_BYTES) * BLOCK_BYTES for _ in range(count)]


async def side_by_side(count: int, reads_at: list[ReadAt]) -> float:
    """Seconds for *count* reads by as many tasks as there are functions."""

    async def read(read_at: ReadAt, part: list[int]) -> None:
        for place in part:
            data = await read_at(place)
            assert len(data) == BLOCK_BYTES

    parts = [places(count // len(reads_at), seed) for seed in range(len(reads_at))]
    start = time.perf_counter()
    await asyncio.gather(*(read(*pair) for pair in zip(reads_at, parts, strict=True)))
    return time.perf_counter() - start


async def gathered(count: int, read_at: ReadAt) -> float:
    """Seconds for *count* reads in batches: 32 are gathered, then the next."""
    todo = places(count, 1)
    start = time.perf_counter()
    for first in range(0, count, SIDE_BY_SIDE):
        await asyncio.gather(*map(read_at, todo[first : first + SIDE_BY_SIDE]))
    return time.perf_counter() - start


# Contenders.


async def headrace_pread(path: str, count: int) -> float:
    import headrace

    async with headrace.open(path, "rb") as file:
        return await side_by_side(count, [lambda place: file.pread(BLOCK_BYTES, place)] * 32)


async def headrace_gather(path: str, count: int) -> float:
    import headrace

    async with headrace.open(path, "rb") as file:
        return await gathered(count, lambda place: file.pread(BLOCK_BYTES, place))


async def headrace_uncached(path: str, count: int) -> float:
    """What the ring or the threads cost, where nothing is answered at once."""
    import headrace

    async with headrace.open(path, "rb") as file:
        file.descriptor.nowait_read = False
        return await side_by_side(count, [lambda place: file.pread(BLOCK_BYTES, place)] * 32)


async def seeking(files: list[Any], count: int) -> float:
    def reader(file: Any) -> ReadAt:
        async def read_at(place: int) -> bytes:
            await file.seek(place)
            data: bytes = await file.read(BLOCK_BYTES)
            return data

        return read_at

    elapsed = await side_by_side(count, [reader(file) for file in files])
    for file in files:
        await file.close()
    return elapsed


async def headrace_seek(path: str, count: int) -> float:
    import headrace

    return await seeking([await headrace.open(path, "rb") for _ in range(SIDE_BY_SIDE)], count)


async def aiofiles_seek(path: str, count: int) -> float:
    import aiofiles

    return await seeking([await aiofiles.open(path, "rb") for _ in range(SIDE_BY_SIDE)], count)


async def executor_pread(path: str, count: int) -> float:
    loop = asyncio.get_running_loop()
    fd = os.open(path, os.O_RDONLY)
    try:
        return await side_by_side(
            count, [lambda place: loop.run_in_executor(None, os.pread, fd, BLOCK_BYTES, place)] * 32
        )
    finally:
        os.close(fd)


async def caio_read(path: str, count: int) -> float:
    import caio

    fd = os.open(path, os.O_RDONLY)
    try:
        async with caio.AsyncioContext(max_requests=SIDE_BY_SIDE) as context:
            return await side_by_side(
                count, [lambda place: context.read(BLOCK_BYTES, fd, place)] * 32
            )
    finally:
        os.close(fd)


PROGRAMS: dict[str, Callable[[str, int], Awaitable[float]]] = {
    "headrace pread": headrace_pread,
    "headrace gather": headrace_gather,
    "headrace seek + read": headrace_seek,
    "headrace uncached": headrace_uncached,
    "aiofiles": aiofiles_seek,
    "executor": executor_pread,
    "caio": caio_read,
}
CONTENDERS = (
    ("headrace pread", "uring"),
    ("headrace pread", "epoll"),
    ("headrace pread", "asyncio"),
    ("headrace gather", "uring"),
    ("headrace seek + read", "uring"),
    ("headrace uncached", "uring"),
    ("headrace uncached", "epoll"),
    ("caio", "uvloop"),
    ("caio", "asyncio"),
    ("executor", "asyncio"),
    ("executor", "uvloop"),
    ("aiofiles", "asyncio"),
    ("aiofiles", "uvloop"),
)


def run_contender(program: str, loop: str, path: str, count: int) -> float:
    """Reads a second.  In a process of its own: see main()."""
    count //= SLOWER.get(program, 1)
    main = PROGRAMS[program](path, count - count % SIDE_BY_SIDE)
    factory: Callable[[], Any]
    if loop == "asyncio":
        factory = asyncio.new_event_loop
    elif loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    else:
        import headrace

        def factory() -> Any:
            return headrace.new_event_loop(loop)

    with asyncio.Runner(loop_factory=factory) as runner:
        return count / runner.run(main)  # type: ignore[arg-type]


def measure(program: str, loop: str, path: str, count: int) -> float | None:
    """run_contender() in a new process; None if it cannot be had here."""
    words = [sys.executable, __file__, "--child", program, loop, path, str(count)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=CHILD_S_MAX, check=False)
    if done.returncode:
        if "ModuleNotFoundError" in done.stderr or "ModelUnavailableError" in done.stderr:
            return None
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout))


def table(found: dict[str, list[float]]) -> str:
    lines = [f"{'contender':<32}{'reads/s':>12}{'lowest':>12}{'highest':>12}{'x aiofiles':>12}"]
    base = found.get("aiofiles, asyncio")
    for name, rates in sorted(found.items(), key=lambda item: -statistics.median(item[1])):
        ratio = ""
        if base:
            ratio = f"{statistics.median(a / b for a, b in zip(rates, base, strict=True)):.1f}"
        lines.append(
            f"{name:<32}{statistics.median(rates):>12,.0f}{min(rates):>12,.0f}"
            f"{max(rates):>12,.0f}{ratio:>12}"
        )
    for ours, theirs, bar in BARS:
        if ours in found and theirs in found:
            pairs = zip(found[ours], found[theirs], strict=True)
            ratio_met = statistics.median(a / b for a, b in pairs)
            lines.append(f"{ours} / {theirs}: {ratio_met:.1f} (bar: {bar})")
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        program, loop, path, count = sys.argv[2:]
        print(json.dumps(run_contender(program, loop, path, int(count))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--reads", type=int, default=READS)
    parser.add_argument("--only", default="", help="contenders whose name has this word")
    options = parser.parse_args()
    print(f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}, "
          f"{os.cpu_count()} CPUs; {options.rounds} rounds")  # fmt: skip
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "file")
        Path(path).write_bytes(os.urandom(FILE_BYTES))
        for _ in range(options.rounds):
            for program, loop in CONTENDERS:
                name = f"{program}, {loop}"
                rate = measure(program, loop, path, options.reads) if options.only in name else None
                if rate is not None:
                    found.setdefault(name, []).append(rate)
    print(table(found))
    missing = [f"{program}, {loop}" for program, loop in CONTENDERS if
               f"{program}, {loop}" not in found]  # fmt: skip
    if missing:
        print("left out or not to be had here:", "; ".join(missing))


if __name__ == "__main__":
    main()
