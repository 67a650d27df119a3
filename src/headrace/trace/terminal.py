"""The timeline as text for a terminal, a pipe or a file."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from headrace.lab.table import wrapped
from headrace.trace import timeline as kinds
from headrace.trace.report import Result, phase_lines, rounded, source_lines, title
from headrace.trace.scale import Scale, gathered, scale_of
from headrace.trace.timeline import KINDS, Lane, Span, Timeline

COLUMNS_WITHOUT_TERMINAL = 100
COLUMNS_MAX = 140
PLOT_COLUMNS_MIN = 20
STEPS_MAX = 40
GAP = "  "
# What each kind is drawn with, and its colour where there are colours.
DRAWN = {
    kinds.WAITS: ("░", "dim"),
    kinds.TRIES: ("·", "dim"),
    kinds.ARRIVES: ("▄", "magenta"),
    kinds.COPIES: ("█", "yellow"),
    kinds.UNSEEN: ("▚", "yellow"),
    kinds.RUNS: ("▓", "cyan"),
    kinds.CALLS: ("▒", "cyan"),
    kinds.ASKS: ("", "cyan"),
}


def show(console: Console, result: Result, kernel: str) -> None:
    """Prints the picture, its legend and the steps."""
    columns = min(console.width, COLUMNS_MAX) if console.is_terminal else None
    for line in lines(result, kernel, columns):
        # soft_wrap: what we have laid out is neither cut nor wrapped again.
        console.print(line if console.is_terminal else Text(line.plain), soft_wrap=True)


def lines(result: Result, kernel: str, columns: int | None) -> Iterator[Text]:
    """All lines, for so many columns or without a limit."""
    timeline = result.shown
    yield Text(title(result), "bold")
    for words in phase_lines(result):
        yield from (Text(line) for line in wrapped(words, columns))
    yield Text()
    yield from picture(timeline, columns or COLUMNS_WITHOUT_TERMINAL)
    yield Text()
    yield legend(timeline)
    yield Text()
    yield from steps(timeline)
    yield Text()
    for words in source_lines(result, kernel):
        yield from (Text(line, "dim") for line in wrapped(words, columns))


def picture(timeline: Timeline, columns: int) -> Iterator[Text]:
    names = max(len(lane.name) for lane in timeline.lanes)
    scale = scale_of(timeline, max(columns - names - len(GAP), PLOT_COLUMNS_MIN))
    indent = " " * names + GAP
    yield Text(indent + phases_line(timeline, scale), "bold")
    for lane in timeline.lanes:
        yield Text(lane.name.ljust(names) + GAP).append_text(bars(lane, scale))
    yield Text(indent + axis(timeline, scale), "dim")


def phases_line(timeline: Timeline, scale: Scale) -> str:
    """The phases over the lanes, each as ├ phase 1 ┤."""
    ends = [0, cell(scale, timeline.there), cell(scale, timeline.told), int(scale.width)]
    line = ""
    for name, start, end in zip(("phase 1", "phase 2", "answer"), ends, ends[1:], strict=False):
        room = end - start - 2
        if room < 0:
            line += "│" * (end - start)
            continue
        line += "├" + (f" {name} " if len(name) + 2 <= room else "").center(room, "─") + "┤"
    return line


def cell(scale: Scale, us: float) -> int:
    return min(int(scale.at(us)), int(scale.width) - 1)


def bars(lane: Lane, scale: Scale) -> Text:
    """One lane; what lasts is never hidden by what lies around it, as it is drawn first."""
    width = int(scale.width)
    drawn = [" "] * width
    styles = [""] * width
    for span in sorted(gathered(lane, scale), key=lambda one: one.start - one.end):
        if span.kind not in KINDS:
            continue
        start = cell(scale, span.start)
        end = max(cell(scale, span.end), start + 1)
        sign, style = DRAWN[span.kind]
        room = end - start
        name = span.name if len(span.name) + 2 <= room else ""
        drawn[start:end] = list(name.center(room, sign) if name else sign * room)
        styles[start:end] = [style] * room
    line = Text()
    for sign, style in zip(drawn, styles, strict=True):
        line.append(sign, style)
    return line


def axis(timeline: Timeline, scale: Scale) -> str:
    """Distances from the client's send(); where the axis is broken stands //."""
    line = [" "] * int(scale.width)
    if scale.is_broken:
        put(line, 0, f"-{rounded(timeline.sent)}")
        put(line, int(scale.knee_at) - 1, "//")
    for tick in scale.ticks(timeline.sent, max(2, int(scale.width) // 16)):
        at = int(scale.at(timeline.sent + tick))
        put(line, at, "0" if tick == 0 else f"{'+' if tick > 0 else ''}{rounded(tick)}")
    return "".join(line).rstrip()


def put(line: list[str], at: int, words: str) -> None:
    """Writes the words where they touch no others."""
    end = at + len(words)
    if end <= len(line) and all(sign == " " for sign in line[max(at - 1, 0) : end + 1]):
        line[at:end] = list(words)


def legend(timeline: Timeline) -> Text:
    present = {span.kind for lane in timeline.lanes for span in lane.spans}
    line = Text()
    for kind, words in KINDS.items():
        if kind in present:
            sign, style = DRAWN[kind]
            line.append(sign * 2, style).append(f" {words}{GAP}")
    line.rstrip()
    return line


def steps(timeline: Timeline) -> Iterator[Text]:
    """What happened from the client's send() on, with what was under way then, in order."""
    found = [
        (span, lane.name)
        for lane in timeline.lanes
        for span in lane.spans
        if span.end >= timeline.sent and span.kind != kinds.TRIES
    ]
    found.sort(key=lambda one: (one[0].start, one[0].end))
    rows = [
        (offset(span.start - timeline.sent), who, span.kind, called(span), lasted(span))
        for span, who in found[:STEPS_MAX]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for (span, _), row in zip(found, rows, strict=False):
        cells = [
            row[0].rjust(widths[0]),
            *(part.ljust(w) for part, w in zip(row[1:4], widths[1:], strict=True)),
        ]
        yield Text(GAP.join([*cells, row[4]]).rstrip(), DRAWN[span.kind][1])
    if len(found) > STEPS_MAX:
        yield Text(f"... and {len(found) - STEPS_MAX:,} more: --json has them")


def offset(us: float) -> str:
    return "0" if abs(us) < 0.05 else f"{'+' if us > 0 else ''}{rounded(us)}"


def lasted(span: Span) -> str:
    return "" if span.end == span.start else rounded(span.end - span.start)


def called(span: Span) -> str:
    return f"{span.name} = {span.detail}" if span.detail else span.name
