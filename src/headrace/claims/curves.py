"""Curves as inline SVG, logarithmic both ways: growth is a slope there, and a flat line is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from headrace.lab.charts import WIDTH, drawing, short, text

LEFT = 46
RIGHT = 14
TOP = 12
HEIGHT = 210
BOTTOM = 40
LINES_MAX = 6

Points = Sequence[Sequence[float]]


def powers(values: Sequence[float]) -> list[int]:
    """The powers of ten from below the least value to above the greatest."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return list(range(low, max(high, low + 1) + 1))


def tick(power: int) -> str:
    value = 10.0**power
    if value >= 1e6:
        return short(value)
    return f"{value:,.0f}" if power >= 0 else f"{value:g}"


def is_drawable(point: Sequence[float]) -> bool:
    """A cost of 0 is what a clock says of a call that was too short for it."""
    return all(0 < value < math.inf for value in point)


def curve_chart(x: str, y: str, lines: Mapping[str, Points]) -> str:
    """One drawing of all lines, with a legend; what has no logarithm is left out."""
    lines = {who: list(filter(is_drawable, points)) for who, points in lines.items()}
    if not any(lines.values()):
        return legend(list(lines))
    points = [point for one in lines.values() for point in one]
    across, up = powers([point[0] for point in points]), powers([point[1] for point in points])

    def at_x(value: float) -> float:
        share = (math.log10(value) - across[0]) / (across[-1] - across[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def at_y(value: float) -> float:
        return TOP + (1 - (math.log10(value) - up[0]) / (up[-1] - up[0])) * HEIGHT

    parts = []
    for power in across:
        place = at_x(10.0**power)
        parts.append(f'<path class="grid" d="M{place:.1f} {TOP}v{HEIGHT}"/>')
        anchor = "end" if power == across[-1] else "middle"
        parts.append(text(place, TOP + HEIGHT + 16, tick(power), "tick", anchor))
    for power in up:
        place = at_y(10.0**power)
        parts.append(f'<path class="grid" d="M{LEFT} {place:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 6, place + 4, tick(power), "tick", "end"))
    parts.append(text(WIDTH - RIGHT, TOP + HEIGHT + 34, x, "tick", "end"))
    parts.append(text(LEFT + 6, TOP + 12, y, "tick"))
    for index, one in enumerate(lines.values()):
        if not one:
            continue
        places = [(at_x(point[0]), at_y(point[1])) for point in one]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(f'<path class="curve line{index % LINES_MAX}" d="M{path}"/>')
        parts += [
            f'<circle class="dot line{index % LINES_MAX}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>'
            for a, b in places
        ]
    return drawing(TOP + HEIGHT + BOTTOM, f"{y} over {x}", parts) + legend(list(lines))


def legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<span class="line{index % LINES_MAX}"><i></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<div class="legend">{items}</div>'
