"""Callbacks, timers, tasks and wake-ups: what a loop costs where no byte is moved."""

from __future__ import annotations

from collections.abc import Sequence

from suite.cell import Cell, Plan, Scenario
from suite.contenders import Contender, loops
from suite.program import program_cell, python

CELLS = (
    "call_soon chain",
    "call_soon batch",
    "timer set + cancelled",
    "timer, 10,000 pending",
    "create_task + await",
    "gather of 100",
    "sleep(0)",
    "Event ping-pong",
    "Queue ping-pong",
    "call_soon_threadsafe",
    "call_soon_threadsafe, thread",
)
PART_QUICK = 0.25


def scheduling_cell(name: str) -> Cell:
    def command(contender: Contender, plan: Plan) -> Sequence[str]:
        part = PART_QUICK if plan.quick else 1.0
        return python(
            "scheduling.py", "--loop", contender.loop, "--cell", name, "--part", str(part)
        )

    # aiofastnet is uvloop's scheduling, untouched.
    contenders = [one for one in loops() if one.name != "aiofastnet"]
    return program_cell(
        name, contenders, command, primary="cpu_ns", columns=("cpu_ns", "ns"), quick=True
    )


def cells() -> list[Cell]:
    return [scheduling_cell(name) for name in CELLS]


SCENARIO = Scenario("scheduling", "what a loop takes for an operation of its own", cells)
