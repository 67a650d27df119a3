"""Users, rate, memory and CPU over time as one SVG: no script, no font and no other file.

One panel for each figure, one line for each server, the same colour in all panels.  It follows dark
and light; a renderer without CSS variables sees the light colours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from headrace.lab.charts import text
from headrace.lab.machine import machine_line

WIDTH = 900
LEFT = 74
RIGHT = 150
PANEL = 150
GAP = 34
TOP = 64
PLOT = WIDTH - LEFT - RIGHT
MIB = 1024 * 1024
CLASSES = ("one", "two", "three", "four", "five")
DASHED = "dashed"
STYLE = """
.c10k{color-scheme:light dark}
.c10k text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:#1d2327}
.c10k .title{font-size:19px;font-weight:600}.c10k .soft{fill:#5e6a71;font-size:12px}
.c10k .name{font-weight:600}.c10k .paper{fill:#fbfaf8}.c10k .card{fill:#fff;stroke:#d9d6cf}
.c10k .grid{stroke:#d9d6cf;fill:none}.c10k .bound{stroke:#a33;stroke-dasharray:2 4;fill:none}
.c10k polyline{fill:none;stroke-width:2;stroke-linejoin:round}
.c10k .dashed{stroke-dasharray:5 4;stroke-width:1.4}
.c10k .one{stroke:#0b7285}.c10k .two{stroke:#c2780e}.c10k .three{stroke:#7048a8}
.c10k .four{stroke:#2b8a3e}.c10k .five{stroke:#c2255c}
@media(prefers-color-scheme:dark){.c10k text{fill:#e6eaec}.c10k .soft{fill:#9aa7ae}
.c10k .paper{fill:#14181b}.c10k .card{fill:#1c2226;stroke:#38434a}.c10k .grid{stroke:#38434a}
.c10k .one{stroke:#3bc0d6}.c10k .two{stroke:#eeaa4d}.c10k .three{stroke:#b197fc}
.c10k .four{stroke:#69db7c}.c10k .five{stroke:#f783ac}}
"""

Row = Mapping[str, Any]
Value = Callable[[Row, Row], float]
"""A figure at a row; the row before it is given too, for growth per second."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure over time; ``second`` is drawn dashed beside it."""

    title: str
    value: Value
    second: Value | None = None
    bound: float | None = None
    bound_words: str = ""


def per_second(name: str, scale: float) -> Value:
    def growth(row: Row, before: Row) -> float:
        seconds = row["second"] - before["second"]
        return float((row[name] - before[name]) * scale / seconds) if seconds > 0 else 0.0

    return growth


def memory(row: Row, before: Row) -> float:
    return float(row["memory_bytes"] + row["socket_bytes"]) / MIB


def panels_of(results: Sequence[Mapping[str, Any]]) -> list[Panel]:
    box = results[0]["box"]
    share = box["cpu_share"]
    return [
        Panel(
            "users alive (dashed: logged in)",
            lambda row, before: float(row["alive"]),
            lambda row, before: float(row["logged_in"]),
        ),
        Panel("Mbit/s of files", per_second("bytes", 8e-6)),
        Panel(
            "memory, MiB (dashed: of it socket buffers)",
            memory,
            lambda row, before: float(row["socket_bytes"]) / MIB,
        ),
        Panel(
            "CPU, % of the core",
            per_second("cpu_s", 100),
            bound=share * 100 if share else None,
            bound_words="the quota",
        ),
    ]


def draw(document: Mapping[str, Any]) -> str:
    """The picture of ``--peer ...`` runs, as they stand in the JSON document."""
    results = document["paced"]
    if not results:
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {TOP}"/>\n'
    panels = panels_of(results)
    height = TOP + len(panels) * (PANEL + GAP) + 34
    load = results[0]["load"]
    title = (
        f"{load['users']:,} users at {load['rate_bytes_per_s'] * 8 / 1000:g} kbit/s, "
        f"{load['file_bytes'] // 1024:,} KiB files, {load['ramp_per_s']:g} new ones a second"
    )
    end_s = max(result["rows"][-1]["second"] for result in results)
    parts = [
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        text(20, 28, title, "title"),
        text(20, 48, machine_line(document["machine"]), "soft"),
    ]
    for at, panel in enumerate(panels):
        parts.append(panel_of(panel, results, TOP + at * (PANEL + GAP), end_s))
    parts.append(legend(results))
    parts.append(text(LEFT + PLOT, height - 12, "seconds", "soft", "end"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="c10k" viewBox="0 0 {WIDTH} {height}"'
        f' role="img" aria-label="{escape(title)}"><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )


def panel_of(panel: Panel, results: Sequence[Mapping[str, Any]], top: float, end_s: float) -> str:
    lines = []
    for at, result in enumerate(results):
        lines.append((CLASSES[at % len(CLASSES)], series(result["rows"], panel.value)))
        if panel.second is not None:
            kind = f"{CLASSES[at % len(CLASSES)]} {DASHED}"
            lines.append((kind, series(result["rows"], panel.second)))
    highest = nice(max([value for _, points in lines for _, value in points], default=0.0))
    if panel.bound is not None:
        highest = max(highest, nice(panel.bound))
    parts = [text(LEFT, top + 16, panel.title, "name"), axes(top + 24, highest, end_s)]
    if panel.bound is not None:
        y = place_y(panel.bound, highest, top + 24)
        parts.append(f'<path class="bound" d="M{LEFT} {y:.1f}h{PLOT}"/>')
        parts.append(text(LEFT + PLOT + 8, y + 4, panel.bound_words, "soft"))
    for kind, points in lines:
        places = " ".join(
            f"{LEFT + second / end_s * PLOT:.1f},{place_y(value, highest, top + 24):.1f}"
            for second, value in points
        )
        parts.append(f'<polyline class="{kind}" points="{places}"/>')
    return "".join(parts)


def series(rows: Sequence[Row], value: Value) -> list[tuple[float, float]]:
    befores = [{"second": 0.0, "bytes": 0, "cpu_s": 0.0}, *rows[:-1]]
    return [(row["second"], value(row, before)) for row, before in zip(rows, befores, strict=True)]


def place_y(value: float, highest: float, top: float) -> float:
    height = PANEL - 24
    return top + height - value / highest * height


def nice(value: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 ... that is not below: the end of a scale."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(
        power * step for step in (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if power * step >= value
    )


def axes(top: float, highest: float, end_s: float) -> str:
    height = PANEL - 24
    parts = [f'<rect class="card" x="{LEFT}" y="{top:.0f}" width="{PLOT}" height="{height}"/>']
    for part in (0.0, 0.5, 1.0):
        y = place_y(part * highest, highest, top)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}h{PLOT}"/>')
        parts.append(text(LEFT - 8, y + 4, f"{part * highest:,.10g}", "soft", "end"))
    for second in ticks(end_s):
        x = LEFT + second / end_s * PLOT
        parts.append(text(x, top + height + 15, f"{second:g}", "soft", "middle"))
    return "".join(parts)


def ticks(end_s: float) -> list[float]:
    step = nice(end_s / 8)
    return [step * at for at in range(int(end_s / step) + 1)]


def legend(results: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for at, result in enumerate(results):
        x, y = LEFT + PLOT + 12, TOP + 34 + at * 40
        kind = CLASSES[at % len(CLASSES)]
        parts.append(f'<polyline class="{kind}" points="{x},{y} {x + 22},{y}"/>')
        parts.append(text(x + 28, y + 4, result["peer"], "name"))
        parts.append(text(x + 28, y + 19, f"{result['final']['alive']:,} alive", "soft"))
    return "".join(parts)
