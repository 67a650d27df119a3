"""A connection for each request: accept, receive, answer, close."""

from __future__ import annotations

from headrace.lab.load import Load
from suite.cell import Cell, Scenario
from suite.web import web_cell

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CONNECTIONS = (10, 100)


def cells() -> list[Cell]:
    def cell(connections: int) -> Cell:
        def make_load(address: tuple[str, int]) -> Load:
            return Load(address, busy=connections, http_request=REQUEST)

        return web_cell(f"one request each, {connections}", "close", make_load)

    return [cell(connections) for connections in CONNECTIONS]


SCENARIO = Scenario("connect_storm", "a connection for each request", cells)
