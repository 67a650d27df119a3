"""The bars: what this project holds itself to, each computed from the data of one run.

A bar compares contenders round by round (see figures.ratio) or holds a figure against a limit. Of
several cells and contenders the worst decides, and is shown.  "Not ahead" is a ratio of at least
1.0; where it is less, but not for three quarters of the rounds, that is a tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from suite import results
from suite.columns import COLUMNS
from suite.contenders import OURS, PEERS
from suite.figures import Spread, ratio, spread
from suite.results import Document

HOLDS = "holds"
TIE = "tie"
MISSED = "missed"
NOT_MEASURED = "not measured"

URING, EPOLL = OURS
OTHER_PEERS = tuple(name for name in PEERS if name != "uvloop")
GROUPS = {PEERS: "every peer", OTHER_PEERS: "every other peer"}
NO_PEER_AHEAD = 1.0


@dataclass(frozen=True)
class Bar:
    """Contenders over one of ours, or one of ours over the floor, or a figure by itself."""

    what: str
    scenario: str
    cells: Sequence[str]
    column: str
    above: Sequence[str]
    limit: float
    below: str | None = URING
    """What the figures are divided by; None for the figures themselves."""
    at_least: bool = True

    @property
    def words(self) -> str:
        """The bar, as it stands in the table."""
        who = GROUPS.get(tuple(self.above), " and ".join(self.above))
        sign = "at least" if self.at_least else "at most"
        if self.below is None:
            return f"{who} {sign} {self.limit:g}, {COLUMNS[self.column].title}"
        if self.at_least and self.limit == NO_PEER_AHEAD:
            return f"{who} not ahead of {self.below}"
        return f"{who} {sign} {self.limit:.2f} x {self.below}"


@dataclass(frozen=True)
class Finding:
    """What the data says of a bar."""

    verdict: str
    figure: Spread | None = None
    decided_by: str = ""
    """The cell and the contender that decided."""


def judge(bar: Bar, documents: Sequence[Document]) -> Finding:
    found = list(candidates(bar, documents))
    if not found:
        return Finding(NOT_MEASURED)
    pick = min if bar.at_least else max
    figure, decided_by = pick(found, key=lambda pair: pair[0].median)
    return Finding(verdict(bar, figure), figure, decided_by)


def candidates(bar: Bar, documents: Sequence[Document]) -> Iterator[tuple[Spread, str]]:
    for document in documents:
        if document["scenario"] != bar.scenario:
            continue
        for cell in bar.cells:
            for name in bar.above:
                figure = figure_of(bar, document, cell, name)
                if figure is not None:
                    yield figure, f"{name} at {cell}"


def figure_of(bar: Bar, document: Document, cell: str, name: str) -> Spread | None:
    above = results.row_of(document, cell, name)
    if above is None:
        return None
    if bar.below is None:
        return spread(results.values(above, bar.column))
    below = results.row_of(document, cell, bar.below)
    if below is None:
        return None
    return ratio(results.values(above, bar.column), results.values(below, bar.column))


def verdict(bar: Bar, figure: Spread) -> str:
    if figure.median >= bar.limit if bar.at_least else figure.median <= bar.limit:
        return HOLDS
    is_ahead = bar.at_least and bar.below is not None and bar.limit == NO_PEER_AHEAD
    return TIE if is_ahead and figure.upper_quartile >= bar.limit else MISSED
