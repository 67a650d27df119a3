"""The rounds of a cell: round 1 measures every contender, then round 2 does, and so on.

A machine's speed drifts by tens of percent within minutes; contenders measured one after the other
within seconds see the same machine.  Each round begins with another contender, so that none always
comes after the same one.  Servers live for a few rounds and are then started anew, because where
the memory of one process happens to lie makes a difference of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from suite.cell import Cell, Failure, Measure, Plan, Sample
from suite.contenders import Contender

ROUNDS_OF_A_PROCESS = 3
DISTURBED_TRIES_MAX = 2

Tick = Callable[[str, int], None]


@dataclass
class Row:
    """A contender's samples, or the reason why it has none."""

    contender: Contender
    samples: list[Sample] = field(default_factory=list)
    reason: str | None = None

    def fail(self, reason: str) -> None:
        """One failure takes all figures away: what fails at times has no speed."""
        self.reason = reason


@dataclass
class CellResult:
    cell: Cell
    rows: list[Row]


def measure_cell(cell: Cell, contenders: Sequence[Contender], plan: Plan, tick: Tick) -> CellResult:
    rows = [Row(one, reason=one.reason) for one in contenders]
    for rounds in generations(cell.rounds(plan)):
        measure_generation(cell, rows, rounds, plan, tick)
    return CellResult(cell, rows)


def generations(rounds: int) -> Iterator[range]:
    """The rounds that share their processes."""
    for first in range(0, rounds, ROUNDS_OF_A_PROCESS):
        yield range(first, min(first + ROUNDS_OF_A_PROCESS, rounds))


def measure_generation(
    cell: Cell, rows: Sequence[Row], rounds: range, plan: Plan, tick: Tick
) -> None:
    with ExitStack() as stack:
        started: list[tuple[Row, Measure]] = []
        for row in rows:
            if row.reason is None:
                tick(f"starting {row.contender.name}", rounds[0])
                try:
                    prepared = cell.prepare(row.contender, plan)
                    started.append((row, stack.enter_context(prepared)))
                except Failure as failure:
                    row.fail(str(failure))
        for number in rounds:
            for row, measure in rotated(started, number):
                if row.reason is None:
                    tick(row.contender.name, number)
                    measure_row(row, measure)


def rotated(started: Sequence[tuple[Row, Measure]], number: int) -> Sequence[tuple[Row, Measure]]:
    if not started:
        return started
    first = number % len(started)
    return [*started[first:], *started[:first]]


def measure_row(row: Row, measure: Measure) -> None:
    """Adds one sample: a quiet one, if a second try can get it."""
    try:
        sample = measure()
        for _ in range(DISTURBED_TRIES_MAX - 1):
            if sample.disturbed is None:
                break
            sample = measure()
    except Failure as failure:
        row.fail(str(failure))
    else:
        row.samples.append(sample)
