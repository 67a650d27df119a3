"""The result as a table for a terminal, a pipe or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from headrace.lab.judge import DISTURBED
from headrace.lab.summary import Row

FILE_COLUMNS = 120
ABSENT = "-"
SPOILED = "!"  # figures not to be relied on
DOUBT = "*"
DISTURBED_LINES_MAX = 2


class ResultConsole(Console):
    """Lets a reader that has gone be noticed; rich itself would exit with status 1."""

    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError that rich is handling


def number(value: float | None, digits: int = 0) -> str:
    return ABSENT if value is None else f"{value:,.{digits}f}"


def latency(value: float | None) -> str:
    """Three significant digits, in us."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def spread(row: dict[str, Any], name: str) -> str:
    """Half the distance between the best and the worst round, in per cent of the median."""
    bounds, median = row["spread"].get(name), row[name]
    if not bounds or not median or len(row["rounds"]) < 2:
        return ""
    return f" ±{(bounds[1] - bounds[0]) / 2 / median * 100:.0f}%"


def cells(row: dict[str, Any]) -> list[str]:
    at = row["latency_us"]
    rss = row["rss_bytes"]
    rate = number(row["requests_per_s"])
    return [
        row["model"],
        rate + spread(row, "requests_per_s"),
        latency(at["p50"]),
        latency(at["p99"]),
        latency(at["p999"]),
        number(row["cpu_us_per_request"], 2) + spread(row, "cpu_us_per_request"),
        number(row["syscalls_per_request"], 2),
        number(None if rss is None else rss / 2**20, 1),
        number(row["errors"]),
    ]


def build_table(rows: Sequence[Row], title: str) -> Table:
    """The table; a row that cannot be trusted is dim and has a star, its notes follow below."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("model", no_wrap=True)
    heads = ("requests/s", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs/req", "syscalls/req")
    for head in (*heads, "RSS MiB", "errors"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        texts = cells(row.figures)
        if row.figures["notes"]:
            texts[0] += f" {DOUBT if row.trusted else SPOILED}"
        style = "" if row.trusted else "dim"
        table.add_row(*(Text(text, style=style) for text in texts))
    return table


def marked_notes(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(mark, who, note): what spoils a row first; many disturbed rows share one line."""
    found = []
    disturbed = []
    for row in rows:
        for note in row["notes"]:
            if note.startswith(DISTURBED):
                disturbed.append((DOUBT, row["model"], note))
            else:
                found.append((DOUBT if row["trusted"] else SPOILED, row["model"], note))
    if len(disturbed) > DISTURBED_LINES_MAX:
        words = "the machine was busy with other programs; repeat it on a quiet one"
        disturbed = [(DOUBT, f"{len(disturbed)} of {len(rows)} rows", words)]
    return found + disturbed


def print_result(console: Console, rows: Sequence[Row], title: str, footer: str) -> None:
    """Prints table, notes and machine line; a file gets 120 columns and no colour codes."""
    if not console.is_terminal:
        console = ResultConsole(
            file=console.file, width=FILE_COLUMNS, no_color=True, highlight=False
        )
    console.print(build_table(rows, title))
    for mark, who, note in marked_notes([row.figures for row in rows]):
        console.print(f"{mark} [bold]{escape(who)}[/bold]: {escape(note)}", soft_wrap=True)
    if any(row.figures["notes"] for row in rows):
        console.print(f"[dim]{SPOILED} not to be relied on; {DOUBT} good, with a doubt[/dim]")
    console.print(f"[dim]{escape(footer)}[/dim]")
