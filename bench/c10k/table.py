"""The figures as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from c10k.summary import Summary

MIB = 1024 * 1024
GIB = 1024 * MIB
MOMENTS = 8
"""How many points in time the line of users alive shows."""


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns; the first is left-aligned, the others right-aligned."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def figure(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def paced_table(results: Sequence[tuple[Mapping[str, Any], Summary]]) -> str:
    head = ["server", "alive", "of", "CPU ms/file", "core", "quota", "throttled", "peak MiB"]
    head += ["sockets", "login p50", "p99", "max ms", "Mbit/s", "slowest 1 %"]
    rows = [head]
    for result, it in results:
        rows.append(
            [
                result["peer"],
                f"{it.alive:,}",
                f"{it.users:,}",
                figure(it.cpu_ms_per_transfer, ".2f"),
                figure(it.cpu_share, ".1%"),
                figure(it.quota_share, ".0%"),
                figure(it.throttled_share, ".0%"),
                f"{it.memory_peak_bytes / MIB:,.0f}",
                f"{it.socket_peak_bytes / MIB:,.0f}",
                figure(it.login_p50_ms, ",.1f"),
                figure(it.login_p99_ms, ",.1f"),
                figure(it.login_max_ms, ",.0f"),
                figure(it.megabits_per_s, ".0f"),
                figure(it.rate_p1, ",.0f", " B/s"),
            ]
        )
    return aligned(rows)


def over_time(result: Mapping[str, Any]) -> str:
    """Users alive at some moments, evenly spread, and at the end."""
    rows = result["rows"]
    step = max(1, len(rows) // MOMENTS)
    chosen = [*rows[step - 1 :: step]]
    if chosen[-1] is not rows[-1]:
        chosen.append(rows[-1])
    return "   ".join(f"{row['second']:.0f} s: {row['alive']:,}" for row in chosen)


def losses(summary: Summary) -> str:
    if not summary.reasons:
        return "nobody was lost"
    most = sorted(summary.reasons.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {reason}" for reason, count in most)


def of_load(summary: Summary) -> str:
    """How the load generator itself was: late, it takes from its users the time that they have."""
    return (
        f"the load took {summary.load_core_share:.0%} of its core, and was late by"
        f" {summary.load_late_ms_max:,.0f} ms at most"
    )


def moment(row: Mapping[str, Any], quota_share: float | None, before: Mapping[str, Any]) -> str:
    """One line while it runs."""
    seconds = row["second"] - before["second"] or 1.0
    cpu = (row["cpu_s"] - before["cpu_s"]) / seconds
    memory = row["memory_bytes"] + row["socket_bytes"]
    quota = "" if quota_share is None else f" ({cpu / quota_share:4.0%} of the quota)"
    lost = sum(row["reasons"].values())
    return (
        f"{row['second']:6.0f} s  alive {row['alive']:6,}  in {row['logged_in']:6,}"
        f"  files {row['transfers']:8,}  {(row['bytes'] - before['bytes']) * 8e-6 / seconds:6.1f}"
        f" Mbit/s  CPU {cpu:5.1%}{quota}  {memory / MIB:6.0f} MiB"
        + (f"  lost {lost:,}" if lost else "")
    )
