"""The columns of the result, for the terminal and for the page; each can be left out.

On a narrow terminal a whole column goes, never a digit: a number with its end cut off is another
number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ABSENT = "–"
SPOILED = "!"  # rounds were left out, or all of them
DOUBT = "*"  # good, with a doubt
AS_IT_IS = "as it is"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A figure of a row: what it is called, in which unit, and how it is written."""

    name: str
    unit: str
    text: Callable[[Row], str]
    spread_of: str | None = None
    """The figure whose spread over the rounds may follow, if it has one."""

    @property
    def title(self) -> str:
        """The name with its unit, in one line."""
        blank = "" if self.unit.startswith("/") else " "
        return f"{self.name}{blank}{self.unit}".strip()


def number(value: float | None, digits: int = 0) -> str:
    return ABSENT if value is None else f"{value:,.{digits}f}"


def latency(value: float | None) -> str:
    """Three significant digits, in us."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def mebibytes(value: float | None) -> str:
    return ABSENT if value is None else number(value / 2**20, 1)


def spread(row: Row, name: str) -> str:
    """Half the distance between the best and the worst round, in per cent of the median."""
    bounds, median = row["spread"].get(name), row[name]
    if not bounds or not median or row["good_rounds"] < 2:
        return ""
    return f" ±{(bounds[1] - bounds[0]) / 2 / median * 100:.0f}%"


RATE = Column("requests", "/s", lambda row: number(row["requests_per_s"]), "requests_per_s")
P50 = Column("p50", "µs", lambda row: latency(row["latency_us"]["p50"]))
P99 = Column("p99", "µs", lambda row: latency(row["latency_us"]["p99"]))
P999 = Column("p99.9", "µs", lambda row: latency(row["latency_us"]["p999"]))
CPU = Column(
    "CPU", "µs/req", lambda row: number(row["cpu_us_per_request"], 2), "cpu_us_per_request"
)
SYSCALLS = Column("syscalls", "/req", lambda row: number(row["syscalls_per_request"], 2))
RSS = Column("RSS", "MiB", lambda row: mebibytes(row["rss_bytes"]))
ERRORS = Column("errors", "", lambda row: number(row["errors"]))
COLUMNS = (RATE, P50, P99, P999, CPU, SYSCALLS, RSS, ERRORS)
# What goes first on a narrow terminal, after the spread.  Errors are in the notes as well.
LEAST_IMPORTANT = (RSS, ERRORS, P999, SYSCALLS, P50, P99)


def cell(column: Column, row: Row, *, with_spread: bool = True) -> str:
    """What stands in this column of this row."""
    more = spread(row, column.spread_of) if with_spread and column.spread_of else ""
    return column.text(row) + more


def label(row: Row) -> str:
    """What a row is called.  The user's command as it is may run on anything, on no loop even."""
    return AS_IT_IS if row["kind"] == "plain" else str(row["model"])


def is_measured(row: Row) -> bool:
    """Whether it has figures; without, its notes take their place."""
    return row["requests_per_s"] is not None


def mark(row: Row) -> str:
    """What stands beside the name of a row that has notes."""
    if not row["trusted"]:
        return SPOILED
    return DOUBT if row["notes"] else ""


def reason(row: Row) -> str:
    """What stands in place of figures."""
    return "; ".join(row["notes"])
