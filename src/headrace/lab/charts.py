"""Charts as inline SVG: one line per row, colours by CSS class so that dark mode is one rule.

The drawing is 376 units wide: on a phone it shrinks a little and its text stays readable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from headrace.lab.columns import label

WIDTH = 376
LEFT = 100
RIGHT = 56
LINE = 30
TOP = 8
AXIS = 26
BAR = 14
PLOT = WIDTH - LEFT - RIGHT
LATENCY_POINTS = (("p50", "circle"), ("p99", "diamond"), ("p999", "triangle"))


def short(value: float) -> str:
    """A number for a label: three digits and a unit letter."""
    if value >= 1e6:
        return f"{value / 1e6:.2f}M"
    if value >= 1e4:
        return f"{value / 1e3:.0f}k"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def duration(value_us: float) -> str:
    if value_us >= 1e6:
        return f"{value_us / 1e6:g} s"
    if value_us >= 1e3:
        return f"{value_us / 1e3:g} ms"
    return f"{value_us:g} µs"


def drawing(height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
        f"{escape(content)}</text>"
    )


def row_name(row: Mapping[str, Any], y: float) -> str:
    kind = "name" if row["trusted"] else "name doubtful"
    return text(LEFT - 10, y, label(row), kind, "end")


def bar_class(row: Mapping[str, Any]) -> str:
    return f"{row['kind']}" + ("" if row["trusted"] else " doubtful")


def whisker(low: float, high: float, y: float) -> str:
    return (
        f'<path class="whisker" d="M{low:.1f} {y:.1f}H{high:.1f}'
        f'M{low:.1f} {y - 4:.1f}v8M{high:.1f} {y - 4:.1f}v8"/>'
    )


def rate_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """Requests per second as bars, longest first, with the spread over the rounds."""
    known = sorted(
        (row for row in rows if row["requests_per_s"]), key=lambda row: -row["requests_per_s"]
    )
    if not known:
        return ""
    highest = max(
        max(row["requests_per_s"], *row["spread"].get("requests_per_s", [0.0])) for row in known
    )
    parts = []
    for index, row in enumerate(known):
        middle = TOP + index * LINE + LINE / 2
        length = row["requests_per_s"] / highest * PLOT
        parts.append(row_name(row, middle + 5))
        parts.append(
            f'<rect class="bar {bar_class(row)}" x="{LEFT}" y="{middle - BAR / 2:.1f}"'
            f' width="{length:.1f}" height="{BAR}" rx="3"/>'
        )
        bounds = row["spread"].get("requests_per_s")
        end = length
        if bounds and len(row["rounds"]) > 1:
            low, high = (LEFT + bound / highest * PLOT for bound in bounds)
            parts.append(whisker(low, high, middle))
            end = max(end, high - LEFT)
        parts.append(text(LEFT + end + 8, middle + 5, short(row["requests_per_s"]), "value"))
    return drawing(TOP * 2 + len(known) * LINE, "requests per second", parts)


def has_split(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether user and kernel time are told apart in every row that has CPU time.

    In a short run the split is not known.  Bars with and without it beside each other would be
    read as if the ones without were all kernel time.
    """
    known = [row for row in rows if row["cpu_us_per_request"]]
    return all(row["user_us_per_request"] is not None for row in known)


def cost_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """Server CPU per request as bars, cheapest first; the user part is solid, where known."""
    known = sorted(
        (row for row in rows if row["cpu_us_per_request"]),
        key=lambda row: row["cpu_us_per_request"],
    )
    if not known:
        return ""
    highest = max(row["cpu_us_per_request"] for row in known)
    is_split = has_split(rows)
    parts = []
    for index, row in enumerate(known):
        middle = TOP + index * LINE + LINE / 2
        whole = row["cpu_us_per_request"] / highest * PLOT
        solid = row["user_us_per_request"] / highest * PLOT if is_split else whole
        box = f'y="{middle - BAR / 2:.1f}" height="{BAR}" rx="3"'
        parts.append(row_name(row, middle + 5))
        if is_split:
            parts.append(
                f'<rect class="bar pale {bar_class(row)}" x="{LEFT}" width="{whole:.1f}" {box}/>'
            )
        parts.append(f'<rect class="bar {bar_class(row)}" x="{LEFT}" width="{solid:.1f}" {box}/>')
        parts.append(text(LEFT + whole + 8, middle + 5, short(row["cpu_us_per_request"]), "value"))
    return drawing(TOP * 2 + len(known) * LINE, "server CPU per request", parts)


def mark(shape: str, x: float, y: float, kind: str) -> str:
    if shape == "circle":
        return f'<circle class="mark {kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if shape == "diamond":
        return f'<path class="mark {kind}" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>'
    return f'<path class="mark {kind}" d="M{x:.1f} {y - 6:.1f}l6 11h-12z"/>'


def latency_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """p50, p99 and p99.9 of each row on one logarithmic scale."""
    known = [row for row in rows if row["latency_us"]["p50"]]
    known.sort(key=lambda row: row["latency_us"]["p50"])
    values = [v for row in known for p, _ in LATENCY_POINTS if (v := row["latency_us"][p])]
    if not values:
        return ""
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values))))
    span = WIDTH - LEFT - 24

    def at(value_us: float) -> float:
        return LEFT + (math.log10(value_us) - low) / (high - low) * span

    bottom = TOP + len(known) * LINE
    parts = []
    for power in range(low, high + 1):
        x = at(10.0**power)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP}V{bottom:.1f}"/>')
        parts.append(text(x, bottom + 18, duration(10.0**power), "tick", "middle"))
    for index, row in enumerate(known):
        middle = TOP + index * LINE + LINE / 2
        points = [(at(v), shape) for p, shape in LATENCY_POINTS if (v := row["latency_us"][p])]
        parts.append(row_name(row, middle + 5))
        ends = f"M{points[0][0]:.1f} {middle:.1f}H{points[-1][0]:.1f}"
        parts.append(f'<path class="range {bar_class(row)}" d="{ends}"/>')
        parts += [mark(shape, x, middle, bar_class(row)) for x, shape in points]
    return drawing(bottom + AXIS, "latency percentiles", parts)
