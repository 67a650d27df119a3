"""TCP echo on loopback: each style of asyncio, four sizes, one to a thousand connections."""

from __future__ import annotations

from suite.cell import Cell, Scenario
from suite.echo import Echo, echo_cell, matrix


def is_quick(echo: Echo) -> bool:
    return echo.size_name == "1 KiB" and echo.connections == 100 and echo.mode != "buffered"


def is_usual(echo: Echo) -> bool:
    """Every mode at the two sizes of the bars, and one mode at all the others."""
    if echo.mode == "protocol":
        return echo.size_name == "1 KiB" or echo.connections == 100
    return echo.connections == 100 and echo.size_name in ("1 KiB", "100 KiB")


def cells() -> list[Cell]:
    return [
        echo_cell(echo, quick=is_quick(echo), usual=is_usual(echo)) for echo in matrix(unix=False)
    ]


SCENARIO = Scenario("tcp_echo", "TCP echo, each style of asyncio", cells)
