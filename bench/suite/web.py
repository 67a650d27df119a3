"""HTTP cells: one of the services, loaded by wrk or by the lab's generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from suite.cell import Cell, Measure, Plan
from suite.contenders import Contender, loops
from suite.program import python
from suite.station import NETWORK_COLUMNS, NETWORK_PRIMARY, WARM_UP_S, MakeLoad, station


def web_cell(
    name: str, app: str, make_load: MakeLoad, *, warm_up_s: float = WARM_UP_S, quick: bool = True
) -> Cell:
    @contextmanager
    def prepare(contender: Contender, plan: Plan) -> Iterator[Measure]:
        command = python("http_server.py", "--loop", contender.loop, "--app", app)
        with station(command, make_load, plan, speaks=True, warm_up_s=warm_up_s) as measure:
            yield measure

    return Cell(name, prepare, loops(), NETWORK_PRIMARY, NETWORK_COLUMNS, quick=quick)
