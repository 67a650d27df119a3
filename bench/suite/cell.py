"""What a scenario is made of: cells, each measured by contender and round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from suite.contenders import Contender


class Failure(Exception):
    """A contender has no figure here; the message is the reason, and stands in the table."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 7
    seconds: float = 0.3
    """Of one stretch of load."""
    quick: bool = False
    full: bool = False


@dataclass
class Sample:
    """What one contender did in one round."""

    figures: dict[str, float] = field(default_factory=dict)
    latency_ns: tuple[tuple[int, int], ...] = ()
    """(latency, how many), where single requests are timed."""
    disturbed: str | None = None
    """What makes the figures doubtful: somebody else used a core."""


Measure = Callable[[], Sample]
"""Measures one round.

Raises:
    Failure: the contender cannot do it.
"""


@dataclass(frozen=True)
class Cell:
    """One line of conditions, the same for all contenders."""

    name: str
    prepare: Callable[[Contender, Plan], AbstractContextManager[Measure]]
    """Starts what lives through several rounds: a server and its connections."""
    contenders: Sequence[Contender]
    primary: str
    """The figure that ranks; less is better."""
    columns: Sequence[str]
    """The figures in the table, in this order."""
    quick: bool = False
    """Whether it belongs to a quick look."""
    usual: bool = True
    """Whether it belongs to a run without --full."""
    rounds_max: int | None = None
    """Where more rounds would tell nothing more."""

    def rounds(self, plan: Plan) -> int:
        return min(plan.rounds, self.rounds_max or plan.rounds)


@dataclass(frozen=True)
class Scenario:
    name: str
    summary: str
    """One sentence for --list and for the page."""
    cells: Callable[[], list[Cell]]

    def chosen(self, plan: Plan) -> list[Cell]:
        cells = self.cells()
        if plan.full:
            return cells
        return [cell for cell in cells if (cell.quick if plan.quick else cell.usual)]
