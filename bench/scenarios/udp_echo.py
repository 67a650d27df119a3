"""UDP echo on loopback: datagram transports, one socket on the server's side."""

from __future__ import annotations

from suite.cell import Cell, Scenario
from suite.echo import Echo, echo_cell

# No more at once than fit the server's receive buffer: what is lost is an error here.
CONNECTIONS = (1, 32)
SIZES = {"64 B": 64, "1 KiB": 1024}


def cells() -> list[Cell]:
    matrix = [
        Echo("datagrams", name, size, connections)
        for name, size in SIZES.items()
        for connections in CONNECTIONS
    ]
    return [echo_cell(echo, quick=echo.connections > 1) for echo in matrix]


SCENARIO = Scenario("udp_echo", "UDP echo, datagram transports", cells)
