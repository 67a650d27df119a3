"""Files: cached reads and writes of 4 KiB at random places, 32 at a time."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace

import headrace
from suite.cell import Cell, Plan, Scenario
from suite.contenders import Contender, ours, package_version, peer
from suite.program import program_cell, python

COUNT = 20_000
COUNT_QUICK = 6_400
PACKAGES = (("aiofiles", "asyncio"), ("aiofiles", "uvloop"), ("caio", "uvloop"))
EXECUTORS = ("asyncio", "uvloop")


def contenders() -> list[Contender]:
    missing = None if hasattr(headrace, "open") else "headrace.open is not there"
    return [
        *(one.without(missing) for one in ours()),
        *(with_package(package, loop) for package, loop in PACKAGES),
        *(replace(peer(loop), name=f"executor on {loop}") for loop in EXECUTORS),
        peer("blazio"),
    ]


def with_package(package: str, loop: str) -> Contender:
    missing = None if importlib.util.find_spec(package) else f"{package} is not installed"
    base = peer(loop).without(missing)
    version = f"{package_version(package)} on {loop} {base.version}"
    return replace(base, name=f"{package} on {loop}", version=version)


def files_cell(name: str, *options: str) -> Cell:
    def command(contender: Contender, plan: Plan) -> Sequence[str]:
        way = "headrace" if contender.is_ours else contender.name.split()[0]
        count = COUNT_QUICK if plan.quick else COUNT
        words = ["--loop", contender.loop, "--way", way, "--count", str(count)]
        return python("files.py", *words, *options)

    return program_cell(
        name, contenders(), command, primary="us", columns=("us", "cpu_us"), busy=False
    )


def cells() -> list[Cell]:
    return [
        files_cell("read 4 KiB, 32 at a time"),
        files_cell("write 4 KiB, 32 at a time", "--writes"),
    ]


SCENARIO = Scenario("files", "cached reads and writes of 4 KiB at random places", cells)
