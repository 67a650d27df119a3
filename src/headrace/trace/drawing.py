"""The timeline as one SVG: no script, no font and no other file; it follows dark and light.

Colours are those of the lab's pages.  What waits is hatched, what copies is orange; who sees no
colours has the names, the hatching and the outlines.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from html import escape

from headrace.lab.charts import text
from headrace.trace import timeline as kinds
from headrace.trace.report import Result, phase_lines, rounded, source_lines, title
from headrace.trace.scale import Scale, gathered, scale_of, shown_end
from headrace.trace.timeline import KINDS, Lane, Span, Timeline

WIDTH = 960
LEFT = 160
RIGHT = 22
PLOT = WIDTH - LEFT - RIGHT
MARGIN = 22
BAR = 24
LABEL = 16
"""The height of a row of labels above a lane's bars; a lane has as many rows as it needs."""
LABEL_ROWS_MAX = 3
LANE_GAP = 16
HEAD = 30
TEXT_LINE = 19
CHARACTER = 6.9
"""About the width of one at 12 to 13 units; a label is measured with it."""
CAPTION_CHARACTERS = 138
THIN = 2.5
"""What took no time to speak of is drawn as wide as this."""

COLOURED = """
.ht{--paper:#fbfaf8;--card:#fff;--ink:#1d2327;--soft:#5e6a71;--line:#d9d6cf;--own:#0b7285;
--copy:#c2780e;--data:#7048a8;color-scheme:light dark}
@media(prefers-color-scheme:dark){.ht{--paper:#14181b;--card:#1c2226;--ink:#e6eaec;--soft:#9aa7ae;
--line:#38434a;--own:#3bc0d6;--copy:#eeaa4d;--data:#b197fc}}
.ht text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:var(--ink)}
.ht .title{font-size:19px;font-weight:600}.ht .who{font-weight:600}
.ht .soft,.ht .tick{fill:var(--soft);font-size:12px}.ht .phase{font-weight:600;font-size:12.5px}
.ht .label{font-size:12px}.ht .paper{fill:var(--paper)}
.ht .card{fill:var(--card);stroke:var(--line)}
.ht .one{fill:var(--soft);opacity:.1}.ht .two{fill:var(--copy);opacity:.14}
.ht .edge{stroke:var(--soft);stroke-dasharray:3 3;fill:none}.ht .lane{stroke:var(--line);fill:none}
.ht .leader{stroke:var(--soft);stroke-width:.8;fill:none}
.ht .break{stroke:var(--soft);stroke-width:1.4;fill:none}
.ht .gap{fill:var(--card)}
.ht .waits,.ht .tries{stroke:var(--soft)}.ht .hatch{stroke:var(--soft);stroke-width:1.3;opacity:.6}
.ht .dots{fill:var(--soft)}
.ht .copies{fill:var(--copy);stroke:var(--copy);fill-opacity:.75}
.ht .unseen{stroke:var(--copy);stroke-dasharray:4 2}.ht .weave{stroke:var(--copy);stroke-width:2.4}
.ht .runs{fill:var(--own);stroke:var(--own);fill-opacity:.6}
.ht .calls{fill:var(--own);stroke:var(--own);fill-opacity:.16}
.ht .arrives{fill:var(--data);stroke:var(--data);fill-opacity:.3}
.ht .halo{paint-order:stroke;stroke:var(--card);stroke-width:3.5px;stroke-linejoin:round}
"""
PATTERNS = """
<pattern id="{id}-waits" width="7" height="7" patternUnits="userSpaceOnUse" \
patternTransform="rotate(45)"><path class="hatch" d="M0 0V7"/></pattern>
<pattern id="{id}-tries" width="6" height="6" patternUnits="userSpaceOnUse">\
<circle class="dots" cx="3" cy="3" r="1.1"/></pattern>
<pattern id="{id}-unseen" width="7" height="7" patternUnits="userSpaceOnUse" \
patternTransform="rotate(-45)"><path class="weave" d="M0 0V7"/></pattern>
"""
# The caption says in full what a short name in a narrow band means.
NAMES_OF_WAITING = ("phase 1: waiting until the data are there", "phase 1: waiting", "phase 1", "1")
NAMES_OF_COPYING = ("phase 2: copying them to the user", "phase 2: copying", "phase 2", "2")
PATTERNED = (kinds.WAITS, kinds.TRIES, kinds.UNSEEN)


def with_plain_colours(style: str) -> str:
    """The style with each colour as it is in the light before the variable that follows the theme.

    A renderer without variables (librsvg, and whatever makes a thumbnail or a PDF with it) drops
    the declaration that has one; without another before it, everything would be black.
    """
    light = style.partition("@media")[0]
    colours = dict(re.findall(r"--(\w+):(#\w+)", light))
    return re.sub(
        r"(fill|stroke):var\(--(\w+)\)",
        lambda found: f"{found[1]}:{colours[found[2]]};{found[0]}",
        style,
    )


STYLE = with_plain_colours(COLOURED)


def draw(result: Result, kernel: str) -> str:
    """The whole file."""
    return Drawing(result, kernel).svg()


class Drawing:
    """One picture, drawn from its top down."""

    def __init__(self, result: Result, kernel: str) -> None:
        self.result = result
        self.kernel = kernel
        self.timeline: Timeline = result.shown
        self.scale: Scale = scale_of(self.timeline, PLOT)
        # Several of these pictures may stand in one page, where ids must differ.
        self.id = "ht-" + re.sub(r"[^A-Za-z0-9]+", "-", result.model.name)

    def svg(self) -> str:
        head, y = self.head()
        lanes, bottom = self.lanes(y + HEAD)
        foot, height = self.foot(bottom)
        description = " ".join(f"{line}." for line in phase_lines(self.result))
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" class="ht" viewBox="0 0 {WIDTH} {height:.0f}"'
            f' width="{WIDTH}" height="{height:.0f}" role="img"'
            f' aria-labelledby="{self.id}-title {self.id}-desc">',
            f'<title id="{self.id}-title">{escape(title(self.result))}</title>',
            f'<desc id="{self.id}-desc">{escape(description)}</desc>',
            f"<style>{STYLE}</style>",
            f"<defs>{PATTERNS.format(id=self.id)}</defs>",
            f'<rect class="paper" width="{WIDTH}" height="{height:.0f}"/>',
            *head,
            f'<rect class="card" x="{LEFT - 0.5}" y="{y}" width="{PLOT}"'
            f' height="{bottom - y:.1f}"/>',
            *self.phases(y, bottom),
            *lanes,
            *self.axis(bottom),
            *foot,
            "</svg>",
            "",
        ])  # fmt: skip

    def head(self) -> tuple[list[str], float]:
        """Title and phases in words; and where the lanes begin."""
        parts = [text(MARGIN, 34, title(self.result), "title")]
        y = 40.0
        for words in phase_lines(self.result):
            for line in textwrap.wrap(words, CAPTION_CHARACTERS):
                y += TEXT_LINE
                parts.append(text(MARGIN, y, line))
        return parts, y + 16

    def x(self, us: float) -> float:
        return LEFT + self.scale.at(us)

    def phases(self, top: float, bottom: float) -> Iterator[str]:
        """The bands behind the lanes, with their names."""
        there, told = self.x(self.timeline.there), self.x(self.timeline.told)
        for kind, start, end, names in (
            ("one", LEFT, there, NAMES_OF_WAITING),
            ("two", there, told, NAMES_OF_COPYING),
            ("", told, LEFT + PLOT, self.names_of_answer()),
        ):
            if kind:
                yield (
                    f'<rect class="{kind}" x="{start:.1f}" y="{top}" width="{end - start:.1f}"'
                    f' height="{bottom - top:.1f}"/>'
                )
            name = next((one for one in names if fits(one, (end - start) * 0.9)), names[-1])
            yield text((start + end) / 2, top + 20, name, "phase", "middle")
        for x in (there, told):
            yield f'<path class="edge" d="M{x:.1f} {top}V{bottom:.1f}"/>'

    def names_of_answer(self) -> tuple[str, ...]:
        """Says where it ends if that is not in the picture."""
        end = self.timeline.end
        if end <= shown_end(self.timeline):
            return ("the answer", "")
        return (f"the answer, until {signed(end - self.timeline.sent)}", "the answer …", "")

    def lanes(self, y: float) -> tuple[list[str], float]:
        parts: list[str] = []
        for lane in self.timeline.lanes:
            drawn, y = self.lane(lane, y)
            parts += drawn
        return parts, y + 6

    def lane(self, lane: Lane, y: float) -> tuple[list[str], float]:
        """One lane below *y*: its labels, its bars; and where the next one begins."""
        drawn = (span for span in gathered(lane, self.scale) if span.kind in KINDS)
        spans = sorted(drawn, key=lambda one: one.start)
        outside = [span for span in spans if self.is_labelled(span) and not self.has_room(span)]
        rows = placed([(self.x(span.start), span.name) for span in outside])
        height = LABEL * max((row + 1 for row, _ in rows if row is not None), default=0)
        top = y + height + 4
        parts = [
            text(LEFT - 12, top + BAR / 2 + 4.5, lane.name, "who", "end"),
            f'<path class="lane" d="M{LEFT} {top + BAR / 2:.1f}H{LEFT + PLOT - 1}"/>',
        ]
        # What is long lies below what is short.
        for span in sorted(spans, key=lambda one: one.start - one.end):
            parts += self.bar(span, top)
        for span, (row, x) in zip(outside, rows, strict=True):
            if row is not None:
                base = top - 6 - row * LABEL
                middle = self.x(span.start) + min(self.wide(span) / 2, 3)
                parts.append(f'<path class="leader" d="M{middle:.1f} {base + 2:.1f}V{top}"/>')
                parts.append(text(x, base, span.name, "label halo"))
        return parts, top + BAR + LANE_GAP

    def bar(self, span: Span, top: float) -> Iterator[str]:
        x, wide = self.x(span.start), self.wide(span)
        yield (
            f'<rect {self.paint(span.kind)} x="{x:.1f}" y="{top:.1f}" width="{wide:.1f}"'
            f' height="{BAR}" rx="2"><title>{escape(hint(span))}</title></rect>'
        )
        if self.has_room(span):
            yield text(x + wide / 2, top + BAR / 2 + 4.5, span.name, "label halo", "middle")

    def paint(self, kind: str) -> str:
        fill = f' fill="url(#{self.id}-{kind})"' if kind in PATTERNED else ""
        return f'class="{kind}"{fill}'

    def wide(self, span: Span) -> float:
        return max(self.x(span.end) - self.x(span.start), THIN)

    def has_room(self, span: Span) -> bool:
        return fits(span.name, self.wide(span))

    def is_labelled(self, span: Span) -> bool:
        """Before the break there is no room for what is short."""
        return span.end >= self.scale.knee or self.has_room(span) or span.kind == kinds.TRIES

    def axis(self, bottom: float) -> Iterator[str]:
        """Ticks to scale, their zero the client's send(); and where the axis is broken."""
        sent = self.timeline.sent
        end = float(LEFT)
        if self.scale.is_broken:
            knee = LEFT + self.scale.knee_at
            yield text(LEFT, bottom + 18, f"−{rounded(sent)}", "tick")
            end = LEFT + 8 * CHARACTER
            yield (
                f'<path class="gap" d="M{knee - 3:.1f} {bottom + 7:.1f}l6 -14h5l-6 14z"/>'
                f'<path class="break" d="M{knee - 3:.1f} {bottom + 7:.1f}l6 -14m5 0l-6 14"/>'
            )
        for tick in self.scale.ticks(sent, 8):
            x = self.x(sent + tick)
            words = "0: the client sends" if tick == 0 else signed(tick)
            half = len(words) * CHARACTER / 2
            if tick != 0 and not end + 14 <= x - half <= WIDTH - 2 * half:
                continue
            yield f'<path class="lane" d="M{x:.1f} {bottom:.1f}v5"/>'
            yield text(x, bottom + 18, words, "tick", "middle")
            end = x + half

    def foot(self, y: float) -> tuple[list[str], float]:
        """Legend and caption; and the height of it all."""
        y += 42
        parts, x = [], float(MARGIN)
        present = {span.kind for lane in self.timeline.lanes for span in lane.spans}
        for kind, words in KINDS.items():
            if kind not in present:
                continue
            needed = 26 + len(words) * CHARACTER + 14
            if x + needed > WIDTH - MARGIN:
                x, y = float(MARGIN), y + 24
            parts.append(
                f'<rect {self.paint(kind)} x="{x:.1f}" y="{y - 11:.1f}" width="20" height="13"'
                ' rx="2"/>'
            )
            parts.append(text(x + 26, y, words, "soft"))
            x += needed
        y += 10
        for words in source_lines(self.result, self.kernel):
            for line in textwrap.wrap(words, CAPTION_CHARACTERS):
                y += TEXT_LINE - 2
                parts.append(text(MARGIN, y, line, "soft"))
        return parts, y + MARGIN


def hint(span: Span) -> str:
    """What a reader sees who points at a bar."""
    result = f" = {span.detail}" if span.detail else ""
    return f"{KINDS[span.kind]}: {span.name}{result}, {rounded(span.end - span.start)}"


def signed(us: float) -> str:
    return f"{'+' if us > 0 else '−'}{rounded(abs(us))}"


def fits(words: str, room: float) -> bool:
    return len(words) * CHARACTER + 8 <= room


def placed(labels: Sequence[tuple[float, str]]) -> list[tuple[int | None, float]]:
    """A row and a place for each, in which it touches no other; None where there is no row left.

    A line that leads down from a higher row passes the labels of a lower one: so a label goes to
    the lowest row that is free from its own place on.  Of one name many times in a row, the first
    says it for those that find no room beside it.
    """
    ends = [float(LEFT)] * LABEL_ROWS_MAX
    found: list[tuple[int | None, float]] = []
    before = ""
    for x, words in labels:
        long = len(words) * CHARACTER
        at = min(x, LEFT + PLOT - long)
        rows = ends[:1] if words == before else ends
        row = next((row for row, end in enumerate(rows) if at >= end), None)
        if row is not None:
            ends[row] = at + long + 8
        found.append((row, at))
        before = words
    return found
