"""The same echo over TLS: three sizes, of which the largest takes several records."""

from __future__ import annotations

from suite.cell import Cell, Scenario
from suite.echo import CONNECTIONS, MODES, TLS_SIZES, Echo, echo_cell


def is_usual(echo: Echo) -> bool:
    """One mode at every size, streams at the sizes of the bars."""
    if echo.connections != 100 or echo.mode not in ("protocol", "read"):
        return False
    return echo.mode == "protocol" or echo.size_name != "64 KiB"


def is_quick(echo: Echo) -> bool:
    return is_usual(echo) and echo.mode == "protocol" and echo.size_name != "64 KiB"


def cells() -> list[Cell]:
    matrix = [
        Echo(mode, name, size, connections, tls=True)
        for mode in MODES
        if mode != "sockets"  # asyncio has no TLS on bare sockets
        for name, size in TLS_SIZES.items()
        for connections in CONNECTIONS
    ]
    return [echo_cell(echo, quick=is_quick(echo), usual=is_usual(echo)) for echo in matrix]


SCENARIO = Scenario("tls_echo", "echo over TLS, each style of asyncio", cells)
