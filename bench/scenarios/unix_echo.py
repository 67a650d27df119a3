"""The same echo on Unix sockets: without TCP's work in the kernel a loop's own is more of it."""

from __future__ import annotations

from suite.cell import Cell, Scenario
from suite.echo import Echo, echo_cell, matrix


def is_usual(echo: Echo) -> bool:
    return echo.connections == 100 and echo.size_name == "1 KiB"


def is_quick(echo: Echo) -> bool:
    return is_usual(echo) and echo.mode != "buffered"


def cells() -> list[Cell]:
    return [
        echo_cell(echo, quick=is_quick(echo), usual=is_usual(echo)) for echo in matrix(unix=True)
    ]


SCENARIO = Scenario("unix_echo", "echo on Unix sockets, each style of asyncio", cells)
