"""Connections: one for each request (accept, receive, answer, close), and many at one instant."""

from __future__ import annotations

from headrace.lab.load import Load
from suite.cell import Cell, Scenario
from suite.storm import storm_cell
from suite.web import web_cell

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CONNECTIONS = (10, 100)
AT_ONCE = 1000


def request_cell(connections: int) -> Cell:
    def make_load(address: tuple[str, int]) -> Load:
        return Load(address, busy=connections, http_request=REQUEST)

    return web_cell(f"one request each, {connections}", "close", make_load)


def cells() -> list[Cell]:
    return [
        *(request_cell(connections) for connections in CONNECTIONS),
        storm_cell("1,000 at once, default backlog", AT_ONCE),
    ]


SCENARIO = Scenario("connect_storm", "a connection for each request, and a thousand at once", cells)
