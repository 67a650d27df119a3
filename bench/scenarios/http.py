"""HTTP with wrk: a protocol of twenty lines, aiohttp, and Starlette under uvicorn."""

from __future__ import annotations

from suite.cell import Cell, Scenario
from suite.web import web_cell
from suite.wrk import WrkLoad

APPS = ("minimal", "aiohttp", "uvicorn")
CONNECTIONS = 100


def make_load(address: tuple[str, int]) -> WrkLoad:
    return WrkLoad(address, busy=CONNECTIONS)


def cells() -> list[Cell]:
    # wrk counts whole seconds, and each of them warms the server up enough for the next.
    return [
        web_cell(f"{app}, {CONNECTIONS}", app, make_load, warm_up_s=0.0, quick=app == "minimal")
        for app in APPS
    ]


SCENARIO = Scenario("http", "HTTP services loaded by wrk", cells)
