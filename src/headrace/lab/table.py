"""The result as a table for a terminal, a pipe or a file."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from headrace.lab.columns import (
    ABSENT,
    COLUMNS,
    DOUBT,
    LEAST_IMPORTANT,
    SPOILED,
    SYSCALLS,
    Column,
    cell,
    is_measured,
    label,
    mark,
    reason,
)
from headrace.lab.judge import DISTURBED
from headrace.lab.syscalls import FROM_KERNEL, FROM_LOOP

GAP = "  "
DISTURBED_LINES_MAX = 2
NARROWEST = 20
"""A reason is not wrapped to less than this beside a long name."""

MARKS = {
    SPOILED: "rounds were left out (all of them where there are no figures)",
    DOUBT: "good, with a doubt",
}

Row = Mapping[str, Any]


class ResultConsole(Console):
    """Lets a reader that has gone be noticed; rich itself would exit with status 1."""

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that rich is handling


@dataclass(frozen=True)
class Layout:
    """Which columns there is room for."""

    columns: tuple[Column, ...]
    with_spread: bool

    def left_out(self) -> list[str]:
        names = [column.name for column in COLUMNS if column not in self.columns]
        return names if self.with_spread else ["±", *names]


def layouts() -> list[Layout]:
    """From everything to the least, in the order in which room is made."""
    found = [Layout(COLUMNS, with_spread=True), Layout(COLUMNS, with_spread=False)]
    left: tuple[Column, ...] = COLUMNS
    for dropped in LEAST_IMPORTANT:
        left = tuple(column for column in left if column is not dropped)
        found.append(Layout(left, with_spread=False))
    return found


def width_of(column: Column, rows: Sequence[Row], *, with_spread: bool) -> int:
    texts = [cell(column, row, with_spread=with_spread) for row in rows if is_measured(row)]
    return max(map(len, (column.name, column.unit, *texts)))


def name_width(rows: Sequence[Row]) -> int:
    return max(len("model"), *(len(label(row)) for row in rows)) + len(f" {SPOILED}")


def total_width(layout: Layout, rows: Sequence[Row]) -> int:
    widths = (width_of(one, rows, with_spread=layout.with_spread) for one in layout.columns)
    return name_width(rows) + sum(len(GAP) + width for width in widths)


def choose_layout(rows: Sequence[Row], columns: int | None) -> Layout:
    """The fullest that fits; without a limit, everything."""
    candidates = layouts()
    if columns is None:
        return candidates[0]
    fitting = (one for one in candidates if total_width(one, rows) <= columns)
    return next(fitting, candidates[-1])


def head_lines(layout: Layout, rows: Sequence[Row]) -> list[str]:
    """Names, units, and a rule as long as the table."""
    names = "model".ljust(name_width(rows))
    units = " " * name_width(rows)
    for column in layout.columns:
        width = width_of(column, rows, with_spread=layout.with_spread)
        names += GAP + column.name.rjust(width)
        units += GAP + column.unit.rjust(width)
    return [names, units.rstrip(), "─" * len(names)]


def row_lines(layout: Layout, row: Row, rows: Sequence[Row], columns: int | None) -> list[str]:
    """A row's figures, or its reason in their place."""
    indent = name_width(rows)
    name = label(row).ljust(indent - 2) + f" {mark(row)}".ljust(2)
    if not is_measured(row):
        return wrapped(reason(row), columns, name + GAP, " " * indent + GAP)
    line = name
    for column in layout.columns:
        width = width_of(column, rows, with_spread=layout.with_spread)
        line += GAP + cell(column, row, with_spread=layout.with_spread).rjust(width)
    return [line]


def wrapped(words: str, columns: int | None, first: str = "", later: str = "  ") -> list[str]:
    """Lines between words; a word longer than a line stays whole, since it may be a path."""
    if columns is None:
        return [first + words]
    return textwrap.wrap(
        words,
        max(columns, len(later) + NARROWEST),
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def left_out_line(layout: Layout, rows: Sequence[Row], columns: int | None) -> str | None:
    missing = layout.left_out()
    if columns is None or not missing:
        return None
    needed = total_width(layouts()[0], rows)
    return (
        f"left out for want of room: {', '.join(missing)}; a terminal of {needed} columns or --json"
        " shows them"
    )


def uncounted_line(rows: Sequence[Row]) -> str | None:
    """Where system calls come from, if not from the kernel, which counts everybody's alike."""
    sources = {row["syscalls_source"] for row in rows if is_measured(row)}
    if sources <= {FROM_KERNEL}:
        return None
    line = "syscalls: the kernel's count is not permitted here (it needs root or CAP_PERFMON)"
    if FROM_LOOP in sources:
        line += "; those of headrace's models are their loops' own count"
    return f"{line}; {ABSENT} is unknown" if None in sources else line


def marks_line(rows: Sequence[Row]) -> str | None:
    """What the marks mean that there are."""
    present = {mark(row) for row in rows}
    words = [f"{sign} means {meaning}" for sign, meaning in MARKS.items() if sign in present]
    return "; ".join(words) if words else None


def marked_notes(rows: Sequence[Row], *, with_reasons: bool) -> list[tuple[str, str, str]]:
    """(mark, who, note): what spoils a row first; many disturbed rows share one line.

    With reasons: also the notes that stand in place of figures.
    """
    found = []
    disturbed = []
    for row in rows:
        if not (is_measured(row) or with_reasons):
            continue
        for note in row["notes"]:
            if note.startswith(DISTURBED):
                disturbed.append((DOUBT, label(row), note))
            else:
                found.append((mark(row), label(row), note))
    if len(disturbed) > DISTURBED_LINES_MAX:
        words = "the machine was busy with other programs; repeat it on a quiet one"
        who = f"{', '.join(model for _, model, _ in disturbed)} ({len(disturbed)} of {len(rows)})"
        disturbed = [(DOUBT, who, words)]
    return sorted(found, key=lambda one: one[0] != SPOILED) + disturbed


def table_lines(
    rows: Sequence[Row], title: str, footer: str, columns: int | None
) -> list[tuple[str, str]]:
    """(line, style) of table, notes and machine line, for so many columns or without a limit."""
    layout = choose_layout(rows, columns)
    found = [(line, "bold") for line in wrapped(title, columns)]
    found += [(line, "bold") for line in head_lines(layout, rows)]
    for row in rows:
        style = "" if row["trusted"] else "dim"
        found += [(line, style) for line in row_lines(layout, row, rows, columns)]
    found.append(("", ""))
    for sign, who, note in marked_notes(rows, with_reasons=False):
        found += [(line, "") for line in wrapped(f"{sign} {who}: {note}", columns)]
    counted = uncounted_line(rows) if SYSCALLS in layout.columns else None
    for text in (left_out_line(layout, rows, columns), counted, marks_line(rows), footer):
        found += [(line, "dim") for line in wrapped(text, columns)] if text else []
    return found


def print_result(console: Console, rows: Sequence[Row], title: str, footer: str) -> None:
    """Prints table, notes and machine line; a file gets every column, and no colour codes."""
    columns = console.width if console.is_terminal else None
    for line, style in table_lines(rows, title, footer, columns):
        # Text, soft_wrap: what we have laid out is neither marked up, cut nor wrapped again.
        console.print(Text(line, style=style if console.is_terminal else ""), soft_wrap=True)
