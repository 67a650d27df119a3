"""A process spawned and waited for, and getaddrinfo() of addresses that are numbers."""

from __future__ import annotations

from collections.abc import Sequence

from suite.cell import Cell, Plan, Scenario
from suite.contenders import Contender, loops
from suite.program import program_cell, python

CELLS = {"subprocess": "spawn", "getaddrinfo of literals": "resolve"}
PART_QUICK = 0.5


def operations_cell(name: str, argument: str) -> Cell:
    def command(contender: Contender, plan: Plan) -> Sequence[str]:
        part = PART_QUICK if plan.quick else 1.0
        words = ["--loop", contender.loop, "--cell", argument, "--part", str(part)]
        return python("operations.py", *words)

    contenders = [one for one in loops() if one.name != "aiofastnet"]  # it touches neither
    return program_cell(
        name, contenders, command, primary="ns", columns=("ns", "cpu_ns"), busy=False
    )


def cells() -> list[Cell]:
    return [operations_cell(name, argument) for name, argument in CELLS.items()]


SCENARIO = Scenario("operations", "processes spawned, and literal addresses resolved", cells)
